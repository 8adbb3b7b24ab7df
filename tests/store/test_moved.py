"""A store is moved, copied in every usual way, and read by somebody who may only read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmpipe.batches.aligned import AlignedReader
from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.heal import heal_dataset
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.manifest import FileEntry, ShardEntry
from mmpipe.store.sample import FINGERPRINT, SampleFeature, make_sample_store
from mmpipe.store.schema import schema_digest
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.verify import verify_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

NOBODY = 65_534
FEATURES = ("audio-toy@1", "text-toy@1")
SAMPLES = (
    SampleFeature(
        schema=FeatureSchema(feature=FEATURES[0], modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=3),
        max_steps=4,
    ),
    SampleFeature(schema=FeatureSchema(feature=FEATURES[1], modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4)),
)


def read_all(root: Path) -> dict[str, np.ndarray]:
    layout = open_store(root)
    reader = AlignedReader(layout, take_snapshot(layout, "sample", FEATURES), FEATURES)
    batch = reader.gather(np.arange(len(reader)))
    return {name: batch.features[name].x_BTD for name in FEATURES}


def move(source: Path, target: Path) -> None:
    source.rename(target)


def copy_by_hand(source: Path, target: Path) -> None:
    """As `rsync -a` does: stamps stay, links become files of their own."""
    shutil.copytree(source, target, copy_function=shutil.copy2)


def run_cp(flags: str):
    def copy(source: Path, target: Path) -> None:
        subprocess.run(["cp", flags, str(source), str(target)], check=True)

    return copy


@pytest.mark.parametrize("how", [move, copy_by_hand, run_cp("-r"), run_cp("-a")], ids=["mv", "rsync", "cp-r", "cp-a"])
def test_a_store_lives_on_elsewhere(fast_path: Path, how) -> None:
    before = make_sample_store(fast_path / "store", SAMPLES, shards=2, shard_clips=3)
    values = read_all(before.root)
    how(before.root, fast_path / "elsewhere")
    layout = StoreLayout(fast_path / "elsewhere")
    assert verify_store(layout) == ()
    for name, array in read_all(layout.root).items():
        assert np.array_equal(array, values[name], equal_nan=True)
    for name in FEATURES:
        heal_dataset(layout.dataset("sample", name), relink=True)
        assert heal_dataset(layout.dataset("sample", name), relink=True) == 0
    shown = list(layout.root.glob("*/*@1/data/*/*"))
    assert len(shown) == 4 and {path.stat().st_nlink for path in shown} == {2}
    assert verify_store(layout) == ()


READ = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_moved import NOBODY, read_all
from mmpipe.steps.keep.verify import find_faults
from mmpipe.store.layout import open_store
root = Path(sys.argv[1])
def look():
    return sorted(read_all(root)), find_faults(open_store(root))
look()  # all is imported now: the interpreter's own files need not be for everybody
os.setgroups([])
os.setgid(NOBODY)
os.setuid(NOBODY)
print(*look())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_who_may_only_read_reads_and_verifies_and_writes_nothing(fast_path: Path, tree_digest) -> None:
    fast_path.chmod(0o755)
    make_sample_store(fast_path / "store", SAMPLES, shards=2, shard_clips=3)
    names, before = sorted(fast_path.rglob("*")), tree_digest(fast_path / "store")
    line = [sys.executable, "-B", "-c", READ, str(fast_path / "store"), str(Path(__file__).parent)]
    told = subprocess.run(line, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout == f"{sorted(FEATURES)} ()\n"
    assert tree_digest(fast_path / "store") == before
    assert sorted(fast_path.rglob("*")) == names


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_the_umask_decides_about_folders_and_never_about_bytes(fast_path: Path, tree_digest, umask: int) -> None:
    """What the store promises: objects and manifests have mode 0444; folders and all else are as the umask says."""
    plain = make_sample_store(fast_path / "plain", SAMPLES, shards=1, shard_clips=2)
    before = os.umask(umask)
    try:
        masked = make_sample_store(fast_path / "masked", SAMPLES, shards=1, shard_clips=2)
    finally:
        os.umask(before)
    assert tree_digest(masked.root) == tree_digest(plain.root)
    committed = [*masked.root.glob("*/*/objects/*/*"), *masked.root.glob("*/*/_meta/*/*.json")]
    assert {path.stat().st_mode & 0o777 for path in committed} == {0o444}
    folders = [path for path in masked.root.rglob("*") if path.is_dir()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o777 & ~umask}


def exchange(mine: ShardEntry, other: ShardEntry) -> tuple[FileEntry, ...]:
    pairs = zip(mine.files, other.files, strict=True)
    return tuple(replace(file, sha256=theirs.sha256, nbytes=theirs.nbytes) for file, theirs in pairs)


def test_a_reader_of_a_revision_gets_its_bytes_while_twenty_more_are_committed(fast_path: Path) -> None:
    layout = make_sample_store(fast_path / "store", SAMPLES, shards=2, shard_clips=3)
    snapshot = take_snapshot(layout, "sample", FEATURES)
    reader = AlignedReader(layout, snapshot, FEATURES)
    rows = np.arange(len(reader))
    first = {name: reader.gather(rows).features[name].x_BTD.copy() for name in FEATURES}
    dataset, schema = layout.dataset("sample", FEATURES[0]), schema_digest(SAMPLES[0].schema)
    for _ in range(20):
        head = read_head(dataset, "2026-11-20")
        one, two = head.shards
        pairs = [(one, two), (two, one)]  # the shards change their bytes: another story, and another view
        shards = {mine.number: replace(mine, files=exchange(mine, other)) for mine, other in pairs}
        commit_partition(dataset, "2026-11-20", schema=schema, fingerprint=FINGERPRINT, shards=shards)
        for source in (reader, AlignedReader(layout, snapshot, FEATURES)):
            for name in FEATURES:
                assert np.array_equal(source.gather(rows).features[name].x_BTD, first[name], equal_nan=True)
    assert read_head(dataset, "2026-11-20").revision == 21
