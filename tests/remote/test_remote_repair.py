"""Tables that are lost from an object store are measured again on this machine, and put back under their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, ingest, make_config, write_film, write_pairs

from mmpipe.io import remove_file
from mmpipe.steps.keep.repair import repair_store
from mmpipe.steps.keep.verify import find_faults
from mmpipe.store.layout import PRINTS, SIGNALS, SURVEYS, StoreLayout
from mmpipe.store.revisions import read_head
from mmpipe.store.view import view_folder

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.mark.sweep
def test_lost_tables_come_out_the_same(
    s3_root: Path, tmp_path: Path, store_content: Callable[[Path], dict[str, bytes]]
) -> None:
    write_pairs(tmp_path / "media", ["a"])
    write_film(tmp_path / "media" / "film.mp4")
    config = make_config(tmp_path, signals={"enabled": True}, dedup={"near": True})
    config = config.model_copy(update={"store": s3_root})
    ingest(config)
    layout = StoreLayout(s3_root)
    before = store_content(s3_root)
    for name in (SIGNALS, SURVEYS, PRINTS):
        dataset = layout.dataset(CORPUS, name)
        head = read_head(dataset, DT)
        assert head is not None
        (file,) = head.shards[0].files
        remove_file(dataset.object(file.sha256))
        remove_file(view_folder(dataset, DT, file.role) / file.name)
    assert {finding.code for finding in find_faults(layout)} == {"object_missing", "view_missing"}
    steps = repair_store(config, layout)
    assert {step.path for step in steps if step.action == "made"} == {
        f"{CORPUS}/{name} dt={DT}" for name in (SIGNALS, SURVEYS, PRINTS)
    }
    assert find_faults(layout) == ()
    assert store_content(s3_root) == before
