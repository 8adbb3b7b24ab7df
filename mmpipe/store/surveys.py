"""The surveys: one row per asset that was decoded at ingest: where it is cut, where somebody speaks, what is broken."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import SURVEYS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions

ASSET_SURVEYS = TableKind(
    name="surveys",
    columns=(
        ("asset_id", pl.String),
        ("settings", pl.String),  # digest of what was asked for
        ("cuts_ns", pl.String),  # JSON [time, ...]: first frames of shots
        ("speech_ns", pl.String),  # JSON [[start, end], ...]
        ("lost", pl.String),  # JSON {role: share of the duration}
        ("faults", pl.String),  # JSON {file's sha256: [code, detail]}
    ),
    dictionary=("settings", "speech_ns", "cuts_ns", "lost", "faults"),
)
_SHARD = 0  # a partition's surveys are one file


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyRecord:
    """What the survey of an asset found out, beside the signals of its clips."""

    asset_id: str
    settings: str
    cuts_ns: tuple[int, ...] = ()
    speech_ns: tuple[tuple[int, int], ...] = ()
    lost: Mapping[str, float] = field(default_factory=dict)  # share of a damaged stream's duration, by role
    faults: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # by the file's sha256: code and detail


def write_surveys(dataset: DatasetLayout, partition: str, records: Iterable[SurveyRecord]) -> Manifest:
    """Commit records beside those that the partition has; one that comes again takes the place of the old."""
    incoming = ASSET_SURVEYS.frame(_to_row(record) for record in sorted(records, key=lambda record: record.asset_id))
    return retry_lost_race(lambda: _commit_joined(dataset, partition, incoming))


def drop_surveys(dataset: DatasetLayout, partition: str, asset_ids: Collection[str]) -> Manifest:
    """Commit a partition without the records of some assets: the next ingest surveys them anew."""
    return retry_lost_race(lambda: _commit_without(dataset, partition, asset_ids))


def read_surveys(layout: StoreLayout, corpus: str) -> dict[str, SurveyRecord]:
    """Return what is known of every asset, by its id."""
    frame = read_partitions(layout.dataset(corpus, SURVEYS), ASSET_SURVEYS, None)
    return {row["asset_id"]: _to_record(row) for row in frame.iter_rows(named=True)}


def _commit_joined(dataset: DatasetLayout, partition: str, incoming: pl.DataFrame) -> Manifest:
    head = read_head(dataset, partition)
    current = read_manifest_table(dataset, ASSET_SURVEYS, head)
    kept = current.join(incoming.select("asset_id"), on="asset_id", how="anti", maintain_order="left")
    frame = pl.concat([kept, incoming], rechunk=True).sort("asset_id")
    if head and head.schema == ASSET_SURVEYS.digest and frame.equals(current):
        return head
    return commit_partition(
        dataset,
        partition,
        schema=ASSET_SURVEYS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, ASSET_SURVEYS, _SHARD, frame)},
        base_revision=head.revision if head else 0,
    )


def _commit_without(dataset: DatasetLayout, partition: str, asset_ids: Collection[str]) -> Manifest:
    head = read_head(dataset, partition)
    left = read_manifest_table(dataset, ASSET_SURVEYS, head).filter(~pl.col("asset_id").is_in(sorted(asset_ids)))
    return commit_partition(
        dataset,
        partition,
        schema=ASSET_SURVEYS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, ASSET_SURVEYS, _SHARD, left)},
        base_revision=head.revision if head else 0,
    )


def _to_row(record: SurveyRecord) -> tuple[str, ...]:
    values = (record.cuts_ns, record.speech_ns, dict(record.lost), dict(record.faults))
    told = (json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False) for value in values)
    return (record.asset_id, record.settings, *told)


def _to_record(row: Mapping[str, str]) -> SurveyRecord:
    return SurveyRecord(
        asset_id=row["asset_id"],
        settings=row["settings"],
        cuts_ns=tuple(json.loads(row["cuts_ns"])),
        speech_ns=tuple((start_ns, end_ns) for start_ns, end_ns in json.loads(row["speech_ns"])),
        lost=json.loads(row["lost"]),
        faults={sha256: (code, detail) for sha256, (code, detail) in json.loads(row["faults"]).items()},
    )
