"""Tables of the store as Parquet: one fixed schema each, the same bytes for the same rows, strict on the way back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from mmpipe.errors import StoreError
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import FileEntry, Manifest, ShardEntry
from mmpipe.store.objects import put_object, read_object, stage_path
from mmpipe.store.parquet import parse_parquet, write_parquet
from mmpipe.store.revisions import read_head
from mmpipe.types import digest_of

PARTITION_COLUMN = "partition"
_MANY = 16  # files that are read in one call
_ARROW_TYPES = {
    pl.String: pa.string(),
    pl.Int32: pa.int32(),
    pl.Int64: pa.int64(),
    pl.Float64: pa.float64(),
    pl.Boolean: pa.bool_(),
    pl.Binary: pa.binary(),
    pl.Binary: pa.binary(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKind:
    """What the rows of a dataset of tables look like; no column may be null but those that are said to be."""

    name: str
    columns: tuple[tuple[str, type[pl.DataType]], ...]
    dictionary: tuple[str, ...] = ()  # columns whose values repeat
    nullable: tuple[str, ...] = ()  # columns in which null means that there is nothing to say
    older: tuple[TableKind, ...] = ()  # what such tables were before: a part of these columns
    fill: tuple[tuple[str, str | int | float | bool], ...] = ()  # what an older table says of the columns that it lacks

    @property
    def names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return [name for name, _ in self.columns]

    @property
    def schema(self) -> dict[str, type[pl.DataType]]:
        """Return the columns as polars wants them."""
        return dict(self.columns)

    @property
    def digest(self) -> str:
        """Return the identity of the schema, as manifests name it."""
        return digest_of(self.name, *(f"{name}:{kind.__name__}" for name, kind in self.columns))

    def at(self, digest: str) -> TableKind | None:
        """Return the kind that has a schema's digest: this one, or an older one; None where nobody knows it."""
        return next((kind for kind in (self, *self.older) if kind.digest == digest), None)

    def widen(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return rows of an older kind under this kind's columns."""
        missing = [pl.lit(value, self.schema[name]).alias(name) for name, value in self.fill if name not in frame]
        return frame.with_columns(missing).select(self.names) if missing else frame

    def frame(self, rows: Iterable[Sequence[Any]] = ()) -> pl.DataFrame:
        """Return a frame of rows in the order of the columns."""
        return pl.DataFrame(list(rows), schema=self.schema, orient="row", strict=True)

    def arrow_schema(self) -> pa.Schema:
        """Return the columns as Parquet holds them."""
        return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in self.columns])


def put_table(dataset: DatasetLayout, partition: str, kind: TableKind, number: int, frame: pl.DataFrame) -> ShardEntry:
    """Put a shard of rows among the objects and return its entry; no rows, no file."""
    if frame.is_empty():
        return ShardEntry(number=number, files=(), samples=0, inputs="", spine=0)
    staged = stage_path(dataset)
    facts = {
        "corpus": dataset.corpus,
        "dataset": dataset.name,
        "format": 1,
        "partition": partition,
        "schema_digest": kind.digest,
        "shard": number,
    }
    try:
        write_parquet(staged, _to_arrow(kind, frame), facts, kind.dictionary)
        sha256, nbytes = put_object(dataset, staged)
    finally:
        staged.unlink(missing_ok=True)
    entry = FileEntry(role="data", name=f"{number:06d}.parquet", nbytes=nbytes, sha256=sha256)
    return ShardEntry(number=number, files=(entry,), samples=frame.height, inputs="", spine=frame.height)


def read_manifest_table(
    dataset: DatasetLayout, kind: TableKind, manifest: Manifest | None, number: int | None = None
) -> pl.DataFrame:
    """Return the rows that a manifest names, verified, in the order of its shards; or those of one shard."""
    if manifest is None:
        return kind.frame()
    found = kind_of(dataset, kind, manifest)
    return kind.widen(read_shard_tables(dataset, found, _with_rows(manifest, None if number is None else (number,))))


def read_some_shards(
    dataset: DatasetLayout, kind: TableKind, manifest: Manifest | None, numbers: Collection[int]
) -> pl.DataFrame:
    """Return the rows of some shards of a manifest, verified, in the order of its shards; the others are not read."""
    if manifest is None:
        return kind.frame()
    return kind.widen(read_shard_tables(dataset, kind_of(dataset, kind, manifest), _with_rows(manifest, numbers)))


def _with_rows(manifest: Manifest, numbers: Collection[int] | None) -> list[ShardEntry]:
    """Return the shards that have a file: all of them, or those of some numbers."""
    return [shard for shard in manifest.shards if shard.files and (numbers is None or shard.number in numbers)]


def kind_of(dataset: DatasetLayout, kind: TableKind, manifest: Manifest) -> TableKind:
    """Return what the rows that a manifest names look like: those of an older mmpipe have fewer columns."""
    found = kind.at(manifest.schema)
    if found is None:
        raise StoreError(
            f"{dataset.corpus}/{dataset.name} dt={manifest.partition} revision {manifest.revision} has another "
            f"schema than this mmpipe's {kind.name}. Use the mmpipe that wrote it."
        )
    return found


def read_partitions(dataset: DatasetLayout, kind: TableKind, partitions: Sequence[str] | None) -> pl.DataFrame:
    """Return the rows of the heads of some partitions, or of all, with the partition as the first column."""
    wanted = dataset.partitions() if partitions is None else sorted(set(partitions))
    frames = [
        read_manifest_table(dataset, kind, head).select(_partition_column(partition), pl.all())
        for partition in wanted
        if (head := read_head(dataset, partition)) is not None
    ]
    return pl.concat(frames, rechunk=True) if frames else kind.frame().select(_partition_column(""), pl.all())


def _partition_column(partition: str) -> pl.Expr:
    return pl.lit(partition, pl.String).alias(PARTITION_COLUMN)


def read_shard_table(dataset: DatasetLayout, kind: TableKind, shard: ShardEntry) -> pl.DataFrame:
    """Return the rows of one shard that has a file, verified."""
    return read_shard_tables(dataset, kind, (shard,))


def read_shard_tables(dataset: DatasetLayout, kind: TableKind, shards: Sequence[ShardEntry]) -> pl.DataFrame:
    """Return the rows of shards that have a file, verified, in their order."""
    if not shards:
        return kind.frame()
    if len(shards) >= _MANY:
        return _read_at_once(dataset, kind, shards)
    frames = [pl.from_arrow(_read_arrow(dataset, kind, shard), schema=kind.schema) for shard in shards]
    return pl.concat([frame for frame in frames if isinstance(frame, pl.DataFrame)], rechunk=True)


def _read_at_once(dataset: DatasetLayout, kind: TableKind, shards: Sequence[ShardEntry]) -> pl.DataFrame:
    """Read many small files in one call: of 10,000 pyarrow needs ten times as long, one by one."""
    data = [read_object(dataset, _data_file(dataset, shard)) for shard in shards]
    where = f"a data file of {dataset.corpus}/{dataset.name}"
    try:
        frame = pl.read_parquet(data).rechunk()
    except pl.exceptions.PolarsError as error:
        raise StoreError(f"{where} is damaged: {error}. Run `mmpipe verify`.") from error
    nulls = any(frame[name].null_count() for name in kind.names if name in frame and name not in kind.nullable)
    if frame.schema != kind.schema or nulls:
        raise StoreError(f"{where} does not have the columns {kind.names} without nulls. Run `mmpipe verify`.")
    if frame.height != (samples := sum(shard.samples for shard in shards)):
        raise StoreError(f"{where} has not the rows that its manifest says: {frame.height} of {samples} in all.")
    return frame


def _data_file(dataset: DatasetLayout, shard: ShardEntry) -> FileEntry:
    entry = shard.file("data")
    if entry is None:
        raise StoreError(f"{dataset.corpus}/{dataset.name}: shard {shard.number} has no data file")
    return entry


def _read_arrow(dataset: DatasetLayout, kind: TableKind, shard: ShardEntry) -> pa.Table:
    entry = _data_file(dataset, shard)
    where = Path(entry.name)
    table, _ = parse_parquet(read_object(dataset, entry), kind.arrow_schema(), where, nullable=kind.nullable)
    if table.num_rows != shard.samples:
        raise StoreError(f"{where} has {table.num_rows} rows, its manifest says {shard.samples}. Run `mmpipe verify`.")
    return table


def _to_arrow(kind: TableKind, frame: pl.DataFrame) -> pa.Table:
    """Return rows under the fixed schema, in one chunk, so that the file depends on the values alone."""
    nulls = [name for name in kind.names if name not in kind.nullable and frame[name].null_count()]
    if nulls:
        raise StoreError(f"the {kind.name} columns {nulls} hold nulls; every column must have a value")
    arrow = frame.select(kind.names).to_arrow(compat_level=pl.CompatLevel.oldest())
    return arrow.cast(kind.arrow_schema()).combine_chunks()
