"""Make a committed shard again without some rows, or rows of several in new places: values are copied."""

from __future__ import annotations

import json
import shutil
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow.parquet as pq

from mmpipe.io import StorePath, local_file, make_directory, read_range
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.parquet import METADATA_KEY
from mmpipe.store.reader import ShardReader
from mmpipe.store.redaction import redact_manifest, with_files
from mmpipe.store.revisions import list_revisions, read_manifest
from mmpipe.store.schema import read_schema
from mmpipe.store.shard import ShardSpec
from mmpipe.store.table import TableKind, put_table, read_shard_table
from mmpipe.store.writer import open_shard_writer, put_shard

_TRACE_COLUMNS = ("key", "clip_key", "asset_id", "source_id", "file", "stage", "detail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """By what the rows of something forgotten are known."""

    asset_ids: frozenset[str]
    keys: frozenset[str] = frozenset()  # of its clips, of all revisions
    source_ids: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()

    def rows(self, columns: Iterable[str]) -> pl.Expr:
        """Return which rows speak of it, in a table that has these columns."""
        has = set(columns)
        found = pl.lit(False)
        if "asset_id" in has:
            found |= pl.col("asset_id").is_in(sorted(self.asset_ids))
        for name in sorted({"key", "clip_key"} & has):
            found |= pl.col(name).is_in(sorted(self.keys))
        if {"asset_id", "source_id", "file"} <= has:  # what fell out before it was an asset
            named = pl.col("source_id").is_in(sorted(self.source_ids)) | pl.col("file").is_in(sorted(self.files))
            found |= (pl.col("asset_id") == "") & named
        if {"stage", "detail"} <= has:  # a twin that was dropped for it, or noted: the next ingest says it anew
            for source_id in sorted(self.source_ids):
                found |= (pl.col("stage") == "dedup") & pl.col("detail").str.contains(repr(source_id), literal=True)
        return found


def find_holders(dataset: DatasetLayout, traces: Traces) -> frozenset[str]:
    """Return the objects of a dataset that hold something of it: of every revision, and of none."""
    tars: dict[str, bool] = {}  # named by an index, so that no tar is read through
    holders, loose = set(), []
    for path in sorted((dataset.root / "objects").glob("*/*")):
        table = _open_table(path)
        if table is None:
            loose.append(path)
            continue
        held = _table_holds(table, traces)
        if held:
            holders.add(path.name)
        if tar := _tar_of(table):
            tars[tar] = tars.get(tar, False) or held
    holders |= {tar for tar, held in tars.items() if held}
    holders |= {path.name for path in loose if path.name not in tars and _tar_holds(path, traces)}
    return frozenset(holders)


def every_shard(dataset: DatasetLayout) -> Iterator[tuple[Manifest, ShardEntry]]:
    """Yield each shard with a file once, of all revisions of all partitions, as it stands now."""
    seen: set[str] = set()
    for partition in dataset.partitions():
        for revision in list_revisions(dataset, partition):
            manifest = redact_manifest(dataset, read_manifest(dataset, partition, revision))
            for shard in manifest.shards:
                data = shard.file("data")
                if data and data.sha256 not in seen:
                    seen.add(data.sha256)
                    yield manifest, shard


def rewrite_table(
    dataset: DatasetLayout, partition: str, kind: TableKind, shard: ShardEntry, traces: Traces
) -> tuple[ShardEntry, pl.DataFrame]:
    """Put a table's shard without some rows among the objects; return its entry and rows."""
    frame = read_shard_table(dataset, kind, shard).filter(~traces.rows(kind.names))
    return put_table(dataset, partition, kind, shard.number, frame), frame


def rewrite_feature(dataset: DatasetLayout, manifest: Manifest, shard: ShardEntry, traces: Traces) -> ShardEntry:
    """Put a feature's shard without some values among the objects; places and bytes of the others stay."""
    reader = ShardReader.open(dataset, shard, read_schema(dataset))
    assert reader is not None, f"shard {shard.number} has no file to rewrite"
    kept = [(reader, row, int(reader.ordinals[row])) for row, key in enumerate(reader.keys) if key not in traces.keys]
    made = write_rows(dataset, manifest, shard.number, kept)
    return with_files(shard, made)


def write_rows(
    dataset: DatasetLayout, manifest: Manifest, number: int, rows: Sequence[tuple[ShardReader, int, int]]
) -> ShardEntry:
    """Put values of committed shards, as (reader, row, new ordinal), into a shard of its own."""
    spec = ShardSpec(
        corpus=dataset.corpus,
        partition=manifest.partition,
        number=number,
        schema=read_schema(dataset),
        fingerprint=manifest.fingerprint,
    )
    staging = make_directory(dataset.staging / f"rewrite-{uuid.uuid4().hex}")
    try:
        with open_shard_writer(spec, staging) as writer:
            for reader, row, ordinal in rows:
                start_ns, end_ns = int(reader.starts_ns[row]), int(reader.ends_ns[row])
                writer.add_raw(reader.keys[row], ordinal, reader.streams[row], start_ns, end_ns, reader.raw(row))
            staged = writer.close()
        return put_shard(dataset, spec, staged, inputs="", spine=staged.samples, absent=0, quarantined=0)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _open_table(path: StorePath) -> pq.ParquetFile | None:
    """Open an object that is a table; None for a tar."""
    return pq.ParquetFile(local_file(path)) if read_range(path, 0, 4) == b"PAR1" else None


def _table_holds(table: pq.ParquetFile, traces: Traces) -> bool:
    columns = [name for name in table.schema_arrow.names if name in _TRACE_COLUMNS]
    if not columns:
        return False
    frame = pl.from_arrow(table.read(columns=columns))
    assert isinstance(frame, pl.DataFrame)
    return not frame.filter(traces.rows(columns)).is_empty()


def _tar_of(table: pq.ParquetFile) -> str:
    """Return the digest of the tar that a table is the index of; "" where it is none."""
    facts = json.loads((table.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}"))
    return str(facts.get("tar_sha256", ""))


def _tar_holds(path: StorePath, traces: Traces) -> bool:
    return any(name.partition(".")[0] in traces.keys for name in _member_names(path))


def _member_names(path: StorePath) -> Iterator[str]:
    try:
        with tarfile.open(local_file(path), "r:") as tar:
            yield from tar.getnames()
    except tarfile.TarError:
        return  # no tar and no table: `mmpipe verify` speaks of it
