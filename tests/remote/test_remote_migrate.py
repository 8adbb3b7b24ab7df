"""A store of an older layout in a bucket comes up as one in a folder does."""

from __future__ import annotations

from pathlib import Path

from old_store import content, unpack, values

from mmpipe import remote
from mmpipe.steps.keep.migrate import migrate_store
from mmpipe.steps.keep.verify import find_faults
from mmpipe.store.layout import StoreLayout, layout_version


def test_an_old_store_in_a_bucket_is_migrated(tmp_path: Path, memory_root: Path, store_content) -> None:
    near = unpack(tmp_path)
    for name, data in content(near).items():
        if not name.startswith("models/"):
            remote.put(memory_root / name, data)
    far = near.model_copy(update={"store": memory_root})
    before = store_content(memory_root)
    assert migrate_store(far, dry_run=True).before == 1 and store_content(memory_root) == before
    migrate_store(far)
    migrate_store(near)
    wanted = {name: data for name, data in content(near).items() if not name.startswith("models/")}
    there = {name: data for name, data in store_content(memory_root).items() if not name.startswith("_audit/")}
    assert there == wanted and layout_version(StoreLayout(memory_root)) == 2
    assert find_faults(StoreLayout(memory_root)) == () and values(far) == values(near)
