from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.drift import warn_of_date, warn_of_values
from mmpipe.store.finding import Severity
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import FINGERPRINT, SampleFeature, make_sample_store
from mmpipe.store.schema import schema_digest
from mmpipe.store.verify import verify_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAYS = ("2026-11-20", "2026-11-21")
TEXT = SampleFeature(schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4))


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return make_sample_store(tmp_path / "store", [TEXT], partitions=DAYS, shards=2, shard_clips=3)


def tell(layout: StoreLayout, day: str, **changes: float) -> list[str]:
    """Commit a partition with other statistics, and return the codes of the warnings."""
    dataset = layout.dataset("sample", "text-toy@1")
    head = read_head(dataset, day)
    shards = {shard.number: replace(shard, statistics=replace(shard.statistics, **changes)) for shard in head.shards}
    commit_partition(dataset, day, schema=schema_digest(TEXT.schema), fingerprint=FINGERPRINT, shards=shards)
    found = warn_of_values(layout, ["sample"])
    assert all(finding.severity is Severity.WARNING and finding.way_out for finding in found)
    return [finding.code for finding in found]


def test_ordinary_values_give_no_warning(layout: StoreLayout) -> None:
    assert warn_of_values(layout, ["sample"]) == ()


@pytest.mark.parametrize(("factor", "codes"), [(1.9, []), (2.1, ["norm_drift"]), (0.4, ["norm_drift"]), (0.6, [])])
def test_a_norm_of_twice_or_half_that_of_the_partition_before_is_told(
    layout: StoreLayout, factor: float, codes: list[str]
) -> None:
    tell(layout, DAYS[0], norm_mean=1.0)
    assert tell(layout, DAYS[1], norm_mean=factor) == codes


def test_constant_values_are_told_for_each_shard(layout: StoreLayout) -> None:
    assert tell(layout, DAYS[1], num_constant=2, num_zero=1) == ["values_constant"] * 2
    details = [finding.detail for finding in warn_of_values(layout, ["sample"])]
    assert details[0] == "2 of 3 values of shard 0 are constant, 1 all zero"


def test_not_a_number_is_damage(layout: StoreLayout) -> None:
    tell(layout, DAYS[1], num_nan=1)
    assert "values_nan" in {finding.code for finding in verify_store(layout)}


def test_a_damaged_head_is_left_to_verify(layout: StoreLayout) -> None:
    path = layout.dataset("sample", "text-toy@1").meta(DAYS[0]) / "000001.json"
    path.chmod(0o644)
    path.write_bytes(b"{")
    assert warn_of_values(layout, ["sample"]) == ()
    assert "manifest_damaged" in {finding.code for finding in verify_store(layout)}


def test_a_date_is_compared_with_the_last_one_before_it_that_has_values(layout: StoreLayout) -> None:
    tell(layout, DAYS[0], norm_mean=1.0)
    tell(layout, DAYS[1], norm_mean=3.0, num_constant=1)
    assert warn_of_date(layout, "sample", DAYS[0]) == {}, "what comes after it is not its fault"
    (told,) = warn_of_date(layout, "sample", DAYS[1]).values()
    assert (told.code, told.detail) == ("norm_drift", f"the mean norm is 3, that of {DAYS[0]} is 1")
    assert warn_of_date(layout, "sample", "2026-11-22") == {}, "a date that is not there"
