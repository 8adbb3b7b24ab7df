from __future__ import annotations

from pathlib import Path

import pytest

from mmpipe.errors import ConfigError, StoreError
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store, write_sample_feature, write_sample_spine
from mmpipe.store.snapshot import Snapshot, load_snapshot, read_pinned_spine, save_snapshot, take_snapshot
from mmpipe.store.spine import plan_spine, read_spine, write_spine
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
    before = path.stat().st_mtime_ns
    assert save_snapshot(layout, take_snapshot(layout, "sample", ["text-toy@1"])) == path
    assert path.stat().st_mtime_ns == before
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
