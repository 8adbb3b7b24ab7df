"""A manifest that is gone from an object store is missed there, too, and comes back from a copy in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmpipe.io import remove_file
from mmpipe.steps.keep.restore import restore_files
from mmpipe.steps.keep.verify import find_faults
from mmpipe.store.layout import CLIPS
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAY = "2026-11-20"
TEXT = SampleFeature(schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4))


@pytest.mark.parametrize("name", [CLIPS, TEXT.schema.feature])
def test_a_lost_manifest_is_missed_and_comes_back(memory_root: Path, tmp_path: Path, name: str) -> None:
    far, near = (make_sample_store(root, [TEXT], shards=2, shard_clips=2) for root in (memory_root, tmp_path / "near"))
    assert find_faults(far) == ()
    remove_file(far.dataset("sample", name).meta(DAY) / "000001.json")
    (finding,) = [finding for finding in find_faults(far) if finding.code == "manifest_missing"]
    assert finding.path == f"sample/{name}/_meta/dt={DAY}/000001.json"
    assert [step.path for step in restore_files(far, near, [finding], dry_run=False)] == [finding.path]
    assert find_faults(far) == ()
