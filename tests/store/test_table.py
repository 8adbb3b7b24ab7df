from __future__ import annotations

import polars as pl
import pyarrow.parquet as pq
import pytest

from mmpipe.errors import StoreError
from mmpipe.store.commit import commit_partition
from mmpipe.store.layout import create_store
from mmpipe.store.table import (
    TableKind,
    put_table,
    read_manifest_table,
    read_partitions,
    read_shard_table,
    read_some_shards,
)

DAY = "2026-11-20"
KIND = TableKind(
    name="toy",
    columns=(("name", pl.String), ("count", pl.Int64), ("share", pl.Float64), ("good", pl.Boolean)),
    dictionary=("name",),
)
ROWS = [("a", 1, 0.5, True), ("ü" * 40, -(2**60), float("inf"), False)]


@pytest.fixture
def dataset(fast_path):
    return create_store(fast_path / "store").dataset("talk", "toy")


def commit(dataset, *entries, schema=KIND.digest):
    shards = {entry.number: entry for entry in entries}
    return commit_partition(dataset, DAY, schema=schema, fingerprint="", shards=shards)


def test_rows_come_back_with_their_types_and_order(dataset):
    frame = KIND.frame(ROWS)
    commit(dataset, put_table(dataset, DAY, KIND, 0, frame))
    commit(dataset, put_table(dataset, DAY, KIND, 1, frame.reverse()))
    read = read_partitions(dataset, KIND, None)
    assert read.drop("partition").equals(pl.concat([frame, frame.reverse()]))
    assert read["partition"].unique().to_list() == [DAY]


def test_the_file_depends_on_the_values_alone(dataset):
    frame = KIND.frame(ROWS)
    chunked = pl.concat([frame.head(1), frame.tail(1)], rechunk=False)
    assert put_table(dataset, DAY, KIND, 0, frame) == put_table(dataset, DAY, KIND, 0, chunked)
    turned = chunked.select("good", "share", "count", "name")
    assert put_table(dataset, DAY, KIND, 0, frame) == put_table(dataset, DAY, KIND, 0, turned)


def test_the_file_has_checked_pages_and_no_trace_of_polars_or_pandas(dataset):
    entry = put_table(dataset, DAY, KIND, 0, KIND.frame(ROWS)).files[0]
    file = pq.ParquetFile(dataset.object(entry.sha256), page_checksum_verification=True)
    assert file.schema_arrow.types == KIND.arrow_schema().types
    assert set(file.metadata.metadata) <= {b"ARROW:schema", b"mmpipe"}
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_no_rows_no_file(dataset):
    head = commit(dataset, put_table(dataset, DAY, KIND, 0, KIND.frame()))
    assert head.shards[0].files == ()
    assert read_manifest_table(dataset, KIND, head).equals(KIND.frame())


def test_nulls_are_refused(dataset):
    with pytest.raises(StoreError, match="name"):
        put_table(
            dataset,
            DAY,
            KIND,
            0,
            pl.DataFrame({"name": [None]}, schema={"name": pl.String}).join(KIND.frame(ROWS).drop("name"), how="cross"),
        )


def test_another_schema_is_refused_with_the_way_out(dataset):
    head = commit(dataset, put_table(dataset, DAY, KIND, 0, KIND.frame(ROWS)), schema="other")
    with pytest.raises(StoreError, match="another schema than this mmpipe's toy"):
        read_manifest_table(dataset, KIND, head)


def test_many_small_shards_are_read_in_one_call_and_say_the_same(dataset):
    entries = [put_table(dataset, DAY, KIND, number, KIND.frame(ROWS).head(1 + number % 2)) for number in range(40)]
    head = commit(dataset, *entries)
    one_by_one = pl.concat([read_shard_table(dataset, KIND, shard) for shard in head.shards])
    assert read_manifest_table(dataset, KIND, head).equals(one_by_one)
    some = read_some_shards(dataset, KIND, head, {3, 17})
    assert some.equals(pl.concat([read_shard_table(dataset, KIND, head.shards[number]) for number in (3, 17)]))


def test_one_bad_file_among_many_is_named_as_damage(dataset):
    other = TableKind(name="toy", columns=(("name", pl.String),))
    entries = [put_table(dataset, DAY, KIND, number, KIND.frame(ROWS)) for number in range(20)]
    entries[7] = put_table(dataset, DAY, other, 7, other.frame([("a",), ("b",)]))
    with pytest.raises(StoreError, match="Run `mmpipe verify`"):
        read_manifest_table(dataset, KIND, commit(dataset, *entries))
