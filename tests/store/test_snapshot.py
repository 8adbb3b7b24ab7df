from __future__ import annotations

from pathlib import Path

import pytest

from mmpipe.errors import ConfigError, StoreError
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store, write_sample_feature, write_sample_spine
from mmpipe.store.snapshot import (
    Snapshot,
    find_name_faults,
    list_snapshots,
    load_snapshot,
    read_pinned_spine,
    save_snapshot,
    take_snapshot,
)
from mmpipe.store.snapshot_names import SnapshotName, list_names, name_path, put_name, remove_name
from mmpipe.store.spine import plan_spine, read_spine, write_spine
from mmpipe.store.verify import verify_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

TEXT = SampleFeature(schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4))
IMAGE = SampleFeature(
    schema=FeatureSchema(feature="image-toy@1", modality=Modality.IMAGE, kind=FeatureKind.VECTOR, dim=4)
)
DAYS = ("2026-11-19", "2026-11-20")


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return make_sample_store(tmp_path / "store", [TEXT], partitions=DAYS)


def test_pins_spine_and_features_of_all_partitions(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["text-toy@1"])
    assert [(entry.dataset, entry.partition, entry.revision) for entry in snapshot.entries] == [
        (name, day, 1) for name in (CLIPS, "text-toy@1") for day in DAYS
    ]
    assert (snapshot.partitions, snapshot.features) == (DAYS, ("text-toy@1",))


def test_chosen_partitions_only(layout: StoreLayout) -> None:
    assert take_snapshot(layout, "sample", ["text-toy@1"], partitions=[DAYS[1]]).partitions == (DAYS[1],)


def test_kept_under_its_digest_once(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["text-toy@1"])
    path = save_snapshot(layout, snapshot)
    before = path.stat().st_ino
    assert save_snapshot(layout, take_snapshot(layout, "sample", ["text-toy@1"])) == path
    assert path.stat().st_ino == before
    assert path.name == f"{snapshot.digest}.json"
    assert load_snapshot(layout, snapshot.digest) == snapshot
    assert not list(layout.staging.glob("snapshot*"))


def test_later_commits_leave_a_snapshot_alone(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["text-toy@1"])
    save_snapshot(layout, snapshot)
    frame = read_spine(layout, "sample", [DAYS[0]]).drop("partition")
    plan = plan_spine(frame, [], shard_clips=4, superseded=[frame["asset_id"][0]])
    assert write_spine(layout.dataset("sample", CLIPS), DAYS[0], plan).revision == 2
    pinned = read_pinned_spine(layout, load_snapshot(layout, snapshot.digest))
    assert not pinned["superseded"].any()
    assert read_spine(layout, "sample")["superseded"].sum() == 1
    assert take_snapshot(layout, "sample", ["text-toy@1"]).digest != snapshot.digest


def test_feature_may_lack_a_partition_but_not_all(layout: StoreLayout) -> None:
    write_sample_feature(layout, "sample", DAYS[1], read_spine(layout, "sample", [DAYS[1]]), IMAGE)
    snapshot = take_snapshot(layout, "sample", ["image-toy@1", "text-toy@1"])
    assert [entry.partition for entry in snapshot.of("image-toy@1")] == [DAYS[1]]
    with pytest.raises(ConfigError, match=r"audio-toy@1.*features there: \['image-toy@1', 'text-toy@1'\]"):
        take_snapshot(layout, "sample", ["audio-toy@1"])


def test_partition_without_spine_is_refused(layout: StoreLayout) -> None:
    with pytest.raises(ConfigError, match="2026-11-21"):
        take_snapshot(layout, "sample", ["text-toy@1"], partitions=["2026-11-21"])
    with pytest.raises(ConfigError, match="mmpipe ingest"):
        take_snapshot(layout, "nobody", [])


def test_changed_manifest_is_found_on_load(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["text-toy@1"])
    save_snapshot(layout, snapshot)
    write_sample_spine(layout, "other", DAYS[0], 3, 3)
    foreign = layout.dataset("other", CLIPS).meta(DAYS[0]) / "000001.json"
    own = layout.dataset("sample", CLIPS).meta(DAYS[0]) / "000001.json"
    own.unlink()
    with pytest.raises(StoreError, match="missing, but a snapshot names it"):
        load_snapshot(layout, snapshot.digest)
    own.write_bytes(foreign.read_bytes())
    with pytest.raises(StoreError, match="not the manifest that a snapshot names"):
        load_snapshot(layout, snapshot.digest)


def test_damaged_snapshot_is_refused(layout: StoreLayout) -> None:
    path = save_snapshot(layout, take_snapshot(layout, "sample", ["text-toy@1"]))
    data = path.read_bytes()
    path.chmod(0o644)
    for position in range(0, len(data), 7):
        path.write_bytes(data[:position] + bytes([data[position] ^ 2]) + data[position + 1 :])
        with pytest.raises(StoreError, match="mmpipe verify"):
            load_snapshot(layout, path.stem)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "0" * 23, "0" * 24])
def test_unknown_or_odd_name_is_refused(layout: StoreLayout, digest: str) -> None:
    with pytest.raises(ConfigError):
        load_snapshot(layout, digest)


def test_bytes_come_back(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["text-toy@1"])
    assert Snapshot.from_bytes(snapshot.to_bytes()) == snapshot


def test_a_name_stands_for_its_snapshot(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["text-toy@1"])
    save_snapshot(layout, snapshot)
    assert put_name(layout, named("paper.v1", snapshot))
    assert not put_name(layout, named("paper.v1", snapshot))
    assert load_snapshot(layout, "paper.v1") == snapshot
    assert [record.name for record in list_names(layout)] == ["paper.v1"]
    assert list_snapshots(layout) == (snapshot.digest,)
    assert not list(find_name_faults(layout))
    assert not verify_store(layout)


def test_a_name_never_moves_but_can_be_dropped(layout: StoreLayout) -> None:
    one, two = (take_snapshot(layout, "sample", ["text-toy@1"], partitions=[day]) for day in DAYS)
    for snapshot in (one, two):
        save_snapshot(layout, snapshot)
    put_name(layout, named("paper", one))
    with pytest.raises(ConfigError, match="a name never moves"):
        put_name(layout, named("paper", two))
    assert remove_name(layout, "paper").snapshot == one.digest
    with pytest.raises(ConfigError, match="no snapshot is named 'paper'"):
        load_snapshot(layout, "paper")
    assert load_snapshot(layout, one.digest) == one
    assert put_name(layout, named("paper", two))


@pytest.mark.parametrize("name", ["head", "", "../x", "A", "a" * 64, "0" * 24, "a b", ".json"])
def test_what_can_be_no_name_is_refused(layout: StoreLayout, name: str) -> None:
    with pytest.raises(ConfigError, match="a snapshot is named by"):
        put_name(layout, named(name, take_snapshot(layout, "sample", ["text-toy@1"])))


def test_a_damaged_name_or_one_of_nothing_is_found(layout: StoreLayout) -> None:
    snapshot = take_snapshot(layout, "sample", ["text-toy@1"])
    put_name(layout, named("lost", snapshot))
    save_snapshot(layout, take_snapshot(layout, "sample", ["text-toy@1"], partitions=[DAYS[0]]))
    assert [found.code for found in verify_store(layout)] == ["snapshot_name_damaged"]
    save_snapshot(layout, snapshot)
    path = name_path(layout, "lost")
    path.write_bytes(path.read_bytes().replace(b"a reason", b"a seas0n\\u0041"))
    with pytest.raises(StoreError, match="is damaged"):
        load_snapshot(layout, "lost")
    assert [found.path for found in verify_store(layout)] == ["snapshots/names/lost.json"]


def named(name: str, snapshot: Snapshot) -> SnapshotName:
    return SnapshotName(
        name=name,
        snapshot=snapshot.digest,
        corpus=snapshot.corpus,
        features=snapshot.features,
        reason="a reason",
        created_at="2026-11-20T00:00:00+00:00",
        created_by="somebody@somewhere",
    )
