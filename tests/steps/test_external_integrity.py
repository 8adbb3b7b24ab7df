"""A pin of another team's dataset that changed, is gone or does not fit what was copied is found, and comes back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mmpipe.external.pin import MatchBy, MatchRule, Pin, PinnedFile, Selection, Shape, SourceFormat, pin_name
from mmpipe.steps.keep.restore import restore_files
from mmpipe.steps.keep.verify import find_faults
from mmpipe.steps.plan.external_pins import StoredPin, put_pin
from mmpipe.steps.share.external_integrity import find_pin_faults
from mmpipe.store.audit import append_event
from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAY, CORPUS, FEATURE = "2026-11-20", "sample", "theirs@1"
THEIRS = SampleFeature(
    schema=FeatureSchema(feature=FEATURE, modality=Modality.AUDIO, kind=FeatureKind.VECTOR, dim=3), max_steps=4
)
PIN = Pin(
    feature=FEATURE,
    uri="file:///theirs",
    selection=Selection(format=SourceFormat.PARQUET, key="id", columns=("value",)),
    match=MatchRule(by=MatchBy.STEM),
    modality=Modality.AUDIO,
    shape=Shape(kind=FeatureKind.VECTOR, dim=3, dtype="float32"),
    rows=4,
    files=(PinnedFile(name="part.parquet", nbytes=7, sha256="0" * 64),),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with values of theirs, copied under the first of two pins; the audit log knows the second one only."""
    layout = make_sample_store(tmp_path_factory.mktemp("pins") / "store", [THEIRS], shards=1, shard_clips=3)
    dataset = layout.dataset(CORPUS, FEATURE)
    second = replace(PIN, rows=5)
    put_pin(layout, CORPUS, "theirs", StoredPin(number=1, pin=PIN))
    put_pin(layout, CORPUS, "theirs", StoredPin(number=2, pin=second))
    append_event(layout, "feature-refresh", f"{CORPUS}/{FEATURE}", "", {"pin": 2}, result=second.digest)
    shutil.rmtree(dataset.meta(DAY) if (head := read_head(dataset, DAY)) else dataset.root)
    shards = {shard.number: shard for shard in head.shards}
    commit_partition(dataset, DAY, schema=head.schema, fingerprint=PIN.digest, shards=shards)
    assert list(find_pin_faults(layout, [CORPUS])) == []
    return layout.root


@pytest.fixture
def layout(template: Path, tmp_path: Path) -> StoreLayout:
    shutil.copytree(template, tmp_path / "store")
    return StoreLayout(tmp_path / "store")


def path_of(layout: StoreLayout, number: int) -> Path:
    return layout.dataset(CORPUS, FEATURE).root / pin_name(number)


def faults(layout: StoreLayout) -> list[tuple[str, str]]:
    return [(code, path.name) for code, path, _ in find_pin_faults(layout, [CORPUS])]


def overwrite(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("number", [1, 2])
def test_every_flipped_bit_of_a_pin_is_found(layout: StoreLayout, number: int) -> None:
    path = path_of(layout, number)
    data = path.read_bytes()
    for position in range(len(data)):
        overwrite(path, data[:position] + bytes([data[position] ^ 1 << position % 7]) + data[position + 1 :])
        assert [code for code, _ in faults(layout)] == ["pin_damaged"], position


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("how", ["gone", "forged"])
def test_a_copy_brings_a_pin_back_and_only_the_right_one(
    layout: StoreLayout, template: Path, tmp_path: Path, number: int, how: str
) -> None:
    path = path_of(layout, number)
    data = path.read_bytes()
    path.unlink()
    if how == "forged":
        path.write_bytes(replace(PIN, uri="file:///elsewhere").to_bytes())
    (finding,) = [finding for finding in find_faults(layout) if finding.code.startswith("pin_")]
    assert (finding.code, layout.root / finding.path) == ("pin_missing" if how == "gone" else "pin_damaged", path)
    shutil.copytree(template, tmp_path / "copy")
    wrong = StoreLayout(tmp_path / "copy")
    overwrite(path_of(wrong, number), replace(PIN, rows=9).to_bytes())
    assert [step.action for step in restore_files(layout, wrong, [finding], dry_run=False)] == ["left"]
    assert [step.action for step in restore_files(layout, StoreLayout(template), [finding], dry_run=False)] == [
        "restored"
    ]
    assert path.read_bytes() == data
    assert faults(layout) == []


def test_a_pin_of_another_shape_than_the_copied_values_is_found(layout: StoreLayout) -> None:
    overwrite(path_of(layout, 1), replace(PIN, shape=replace(PIN.shape, dim=4)).to_bytes())
    assert faults(layout) == [("pin_damaged", pin_name(1))]
