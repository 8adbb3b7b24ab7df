"""A manifest that is gone from the end of a chain is missed, and nothing else looks like one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmpipe.io import canonical_json
from mmpipe.store.card import write_card
from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.heal import heal_dataset
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.lostrevision import find_lost, find_lost_again, read_cards
from mmpipe.store.manifest import Manifest
from mmpipe.store.sample import FINGERPRINT, SampleFeature, make_sample_store
from mmpipe.store.schema import schema_digest
from mmpipe.store.snapshot import save_snapshot, take_snapshot
from mmpipe.store.spine import plan_spine, read_spine, write_spine
from mmpipe.store.verify import verify_store
from mmpipe.store.view import heal_view
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAY = "2026-11-20"
FEATURE = "audio-toy@1"
AUDIO = SampleFeature(
    schema=FeatureSchema(feature=FEATURE, modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=3), max_steps=4
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a spine of two revisions and a feature of one."""
    layout = make_sample_store(tmp_path_factory.mktemp("lost") / "store", [AUDIO], shards=2, shard_clips=3)
    frame = read_spine(layout, "sample", [DAY]).drop("partition")
    plan = plan_spine(frame, [], shard_clips=3, superseded=[frame["asset_id"][0]])
    write_spine(layout.dataset("sample", CLIPS), DAY, plan)
    assert verify_store(layout) == ()
    return layout.root


@pytest.fixture
def layout(template: Path, tmp_path: Path) -> StoreLayout:
    shutil.copytree(template, tmp_path / "store")
    return StoreLayout(tmp_path / "store")


def lose(layout: StoreLayout, dataset: str, revision: int) -> str:
    path = layout.dataset("sample", dataset).meta(DAY) / f"{revision:06d}.json"
    path.unlink()
    return str(path.relative_to(layout.root))


def missed(layout: StoreLayout) -> dict[str, str]:
    found = verify_store(layout)
    assert not [finding for finding in found if finding.code.startswith("view_")]
    return {finding.path: finding.detail for finding in found if finding.code == "manifest_missing"}


def drop_second_shard(layout: StoreLayout) -> Manifest:
    """Commit a revision of the feature that shows nothing new."""
    dataset = layout.dataset("sample", FEATURE)
    head = read_head(dataset, DAY)
    schema = schema_digest(AUDIO.schema)
    return commit_partition(
        dataset, DAY, schema=schema, fingerprint=FINGERPRINT, shards={0: head.shards[0]}, replace=True
    )


def test_what_the_view_shows_beyond_the_head_was_committed(layout: StoreLayout) -> None:
    name = lose(layout, CLIPS, 2)
    found = missed(layout)
    assert list(found) == [name]
    assert "the view shows committed files that no revision names: 000000.parquet" in found[name]
    (finding,) = [finding for finding in verify_store(layout) if finding.code == "manifest_missing"]
    assert "--accept-loss" in finding.way_out and "--from COPY" in finding.way_out


def test_the_only_manifest_of_a_partition_is_missed(layout: StoreLayout) -> None:
    name = lose(layout, FEATURE, 1)
    assert list(missed(layout)) == [name]
    shutil.rmtree(layout.dataset("sample", FEATURE).meta(DAY))
    assert list(missed(layout)) == [name]


def test_the_card_knows_of_a_revision_that_shows_nothing_new(layout: StoreLayout) -> None:
    drop_second_shard(layout)
    write_card(layout.dataset("sample", FEATURE), AUDIO.schema)
    assert verify_store(layout) == ()
    assert missed_after(layout, FEATURE, 2) == {2: "it was committed: the card tells of it"}


def test_a_snapshot_knows_of_every_revision_up_to_its_own(layout: StoreLayout) -> None:
    save_snapshot(layout, take_snapshot(layout, "sample", [FEATURE]))
    lose(layout, CLIPS, 1)
    said = "it was committed: a snapshot pins it"
    assert missed_after(layout, CLIPS, 2) == {1: said, 2: said}


def missed_after(layout: StoreLayout, dataset: str, revision: int) -> dict[int, str]:
    lose(layout, dataset, revision)
    return {int(Path(path).stem): detail for path, detail in missed(layout).items()}


def test_a_view_that_is_behind_is_stale_and_no_more(layout: StoreLayout) -> None:
    """Killed between manifest and view: the view still shows the revision before, also where that one's is lost."""
    dataset = layout.dataset("sample", FEATURE)
    before = {path: path.read_bytes() for path in dataset.root.glob("*/dt=*/*") if path.parent.parent.name != "_meta"}
    drop_second_shard(layout)
    for path, data in before.items():
        path.unlink(missing_ok=True)
        path.write_bytes(data)
    assert {finding.code for finding in verify_store(layout)} == {"view_extra", "card_stale"}
    assert find_lost_again(layout, dataset, DAY) is None


def test_healing_leaves_what_only_the_view_or_the_card_knows(layout: StoreLayout) -> None:
    drop_second_shard(layout)
    write_card(layout.dataset("sample", FEATURE), AUDIO.schema)
    lose(layout, CLIPS, 2)
    lose(layout, FEATURE, 2)
    before = {path: path.read_bytes() for path in layout.root.glob("sample/**/*") if path.is_file()}
    assert sum(heal_dataset(layout.dataset("sample", name)) for name in (CLIPS, FEATURE)) == 0
    assert before == {path: path.read_bytes() for path in layout.root.glob("sample/**/*") if path.is_file()}
    assert heal_dataset(layout.dataset("sample", CLIPS), spared=()) > 0


@pytest.mark.parametrize("name", ["000000.tar", "000009.tar", "README.md"])
def test_bytes_that_were_never_committed_prove_nothing(layout: StoreLayout, name: str) -> None:
    path = layout.dataset("sample", FEATURE).data(DAY) / name
    path.unlink(missing_ok=True)
    path.write_bytes(b"stray")
    assert {finding.code for finding in verify_store(layout)} <= {"view_extra", "view_stale"}


def test_no_flipped_bit_of_a_card_looks_like_a_revision(layout: StoreLayout) -> None:
    dataset = layout.dataset("sample", FEATURE)
    (path,) = (dataset.root / "statistics").glob("*.json")
    data = path.read_bytes()
    for position in range(len(data)):
        for bit in range(7):
            path.write_bytes(data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :])
            assert find_lost(dataset, DAY, {}, read_cards(dataset), ()) is None, (position, bit)


def test_a_commit_made_while_it_looks_is_no_alarm(layout: StoreLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view and the card are from after the commit, the head that they are held against is from before."""
    from mmpipe.store import lostrevision, verify

    dataset = layout.dataset("sample", CLIPS)
    path = dataset.meta(DAY) / "000002.json"
    data = path.read_bytes()
    path.unlink()
    real = lostrevision.sha256_file

    def commit_meanwhile(shown: Path) -> str:
        path.write_bytes(data)
        return real(shown)

    monkeypatch.setattr(lostrevision, "sha256_file", commit_meanwhile)
    assert "manifest_missing" not in {finding.code for finding in verify.verify_store(layout)}


def test_damage_to_an_old_manifest_is_no_proof_of_a_newer_one(layout: StoreLayout) -> None:
    """The view is behind, and what it shows was named by the manifest that cannot be read any more."""
    dataset = layout.dataset("sample", CLIPS)
    newest = (dataset.meta(DAY) / "000002.json").read_bytes()
    (dataset.meta(DAY) / "000002.json").unlink()
    heal_view(dataset, DAY)
    (dataset.meta(DAY) / "000002.json").write_bytes(newest)
    (dataset.meta(DAY) / "000001.json").chmod(0o644)
    (dataset.meta(DAY) / "000001.json").write_bytes(canonical_json({}))
    codes = {finding.code for finding in verify_store(layout)}
    assert "manifest_damaged" in codes and "view_stale" in codes
    assert "manifest_missing" not in codes
