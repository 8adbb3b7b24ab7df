"""The assets: one row per asset and stream, with where its bytes lie. What the extraction decodes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields

import polars as pl

from mmpipe.errors import StoreError
from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import ASSETS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions
from mmpipe.types import Asset, Cue, Modality, Stream

_COLUMN_TYPES: dict[str, type[pl.DataType]] = {
    "str": pl.String,
    "Modality": pl.String,
    "int": pl.Int64,
    "float": pl.Float64,
}
_STREAM_FIELDS = tuple(field.name for field in fields(Stream))
ASSET_STREAMS = TableKind(
    name="assets",
    columns=(
        ("asset_id", pl.String),
        ("source_id", pl.String),
        *((field.name, _COLUMN_TYPES[str(field.type)]) for field in fields(Stream)),
        ("cues", pl.String),  # JSON [[start_ns, end_ns, text], ...], on the first text stream; else ""
    ),
    dictionary=("asset_id", "source_id", "role", "modality", "codec"),
)
_SHARD = 0  # a partition's assets are one file


def write_assets(dataset: DatasetLayout, partition: str, assets: Iterable[Asset]) -> Manifest:
    """Commit assets beside those that the partition has; one that comes again replaces its old rows.

    Assets that do not come again stay: clips of them are committed.
    """
    incoming = _to_frame(assets)
    return retry_lost_race(lambda: _commit_joined(dataset, partition, incoming))


def read_assets(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return one row per asset and stream, in (partition, source id, asset, role) order."""
    return read_partitions(layout.dataset(corpus, ASSETS), ASSET_STREAMS, partitions)


def assets_of(frame: pl.DataFrame) -> tuple[Asset, ...]:
    """Return the assets that rows of `read_assets` describe, in their order."""
    groups: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in frame.iter_rows(named=True):
        groups.setdefault((str(row.get("partition", "")), row["asset_id"]), []).append(row)
    return tuple(_to_asset(rows) for rows in groups.values())


def _commit_joined(dataset: DatasetLayout, partition: str, incoming: pl.DataFrame) -> Manifest:
    head = read_head(dataset, partition)
    current = read_manifest_table(dataset, ASSET_STREAMS, head)
    kept = current.join(incoming.select("asset_id").unique(), on="asset_id", how="anti", maintain_order="left")
    frame = pl.concat([kept, incoming], rechunk=True).sort("source_id", "asset_id", "role")
    return commit_partition(
        dataset,
        partition,
        schema=ASSET_STREAMS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, ASSET_STREAMS, _SHARD, frame)},
        base_revision=head.revision if head else 0,
    )


def _to_frame(assets: Iterable[Asset]) -> pl.DataFrame:
    by_id: dict[str, Asset] = {}
    for asset in assets:
        if asset.asset_id in by_id:
            names = sorted((by_id[asset.asset_id].source_id, asset.source_id))
            raise StoreError(f"asset {asset.asset_id} comes twice, as {names}; count one as a duplicate first")
        by_id[asset.asset_id] = asset
    return ASSET_STREAMS.frame(row for key in sorted(by_id) for row in _to_rows(by_id[key]))


def _to_rows(asset: Asset) -> Iterable[tuple[object, ...]]:
    text = asset.stream(Modality.TEXT)
    if asset.cues and text is None:
        raise StoreError(f"asset {asset.asset_id} ({asset.source_id!r}) has cues and no text stream they come from")
    for stream in asset.streams:
        values = asdict(stream) | {"modality": str(stream.modality), "frame_rate": float(stream.frame_rate)}
        cues = _cues_to_json(asset.cues) if stream is text else ""
        yield (asset.asset_id, asset.source_id, *(values[name] for name in _STREAM_FIELDS), cues)


def _to_asset(rows: list[dict[str, object]]) -> Asset:
    streams = tuple(
        Stream(**{name: row[name] for name in _STREAM_FIELDS} | {"modality": Modality(str(row["modality"]))})  # type: ignore[arg-type]
        for row in rows
    )
    cues = next((str(row["cues"]) for row in rows if row["cues"]), "[]")
    return Asset(
        asset_id=str(rows[0]["asset_id"]),
        source_id=str(rows[0]["source_id"]),
        streams=streams,
        cues=tuple(Cue(start_ns=start, end_ns=end, text=text) for start, end, text in json.loads(cues)),
    )


def _cues_to_json(cues: Iterable[Cue]) -> str:
    return json.dumps([[cue.start_ns, cue.end_ns, cue.text] for cue in cues], ensure_ascii=False, separators=(",", ":"))
