"""The assets: one row per asset and stream: where its bytes lie, which the extraction decodes, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, fields

import polars as pl

from mmpipe.errors import StoreError
from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import ASSETS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.rights import Rights
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions
from mmpipe.types import Asset, Cue, Modality, Stream

RightsOf = Callable[[str], Rights]  # from a source id
_COLUMN_TYPES: dict[str, type[pl.DataType]] = {
    "str": pl.String,
    "Modality": pl.String,
    "int": pl.Int64,
    "float": pl.Float64,
}
_STREAM_FIELDS = tuple(field.name for field in fields(Stream))
RIGHTS_FIELDS = tuple(field.name for field in fields(Rights))
_LATER: dict[str, str | float] = {"origin": "", "lost_share": 0.0, "values": ""}  # of a stream; older tables lack them
_KNOWN = tuple((field.name, _COLUMN_TYPES[str(field.type)]) for field in fields(Stream))
_FIRST_COLUMNS: tuple[tuple[str, type[pl.DataType]], ...] = (
    ("asset_id", pl.String),
    ("source_id", pl.String),
    *((name, kind) for name, kind in _KNOWN if name not in _LATER),
    ("cues", pl.String),  # JSON [[start_ns, end_ns, text], ...], on the first text stream; else ""
)
_FIRST_DICTIONARY = ("asset_id", "source_id", "role", "modality", "codec")
ASSET_STREAMS = TableKind(
    name="assets",
    columns=(
        *_FIRST_COLUMNS,
        *((name, kind) for name, kind in _KNOWN if name in _LATER),
        *((name, pl.String) for name in RIGHTS_FIELDS),
    ),
    dictionary=(*_FIRST_DICTIONARY, "origin", *RIGHTS_FIELDS),
    older=(TableKind(name="assets", columns=_FIRST_COLUMNS, dictionary=_FIRST_DICTIONARY),),
    fill=(*_LATER.items(), *asdict(Rights()).items()),
)
_SHARD = 0  # a partition's assets are one file


def write_assets(
    dataset: DatasetLayout, partition: str, assets: Iterable[Asset], rights: RightsOf = lambda source_id: Rights()
) -> Manifest:
    """Commit assets beside those that the partition has; one that comes again replaces its old rows.

    Assets that do not come again stay: clips of them are committed. `rights` says whose an asset is, by its source.
    """
    incoming = _to_frame(assets, rights)
    return retry_lost_race(lambda: _commit_joined(dataset, partition, incoming))


def write_asset_rights(dataset: DatasetLayout, partition: str, rights: RightsOf) -> bool:
    """Bring what the assets of a partition say of their rights up to date; return whether that made a revision."""
    return retry_lost_race(lambda: _commit_rights(dataset, partition, rights))


def read_assets(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return one row per asset and stream, in (partition, source id, asset, role) order."""
    return read_partitions(layout.dataset(corpus, ASSETS), ASSET_STREAMS, partitions)


def read_asset_rights(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> dict[str, Rights]:
    """Return whose each asset is, by its id."""
    frame = read_assets(layout, corpus, partitions).select("asset_id", *RIGHTS_FIELDS).unique("asset_id")
    return {row[0]: Rights(**dict(zip(RIGHTS_FIELDS, row[1:], strict=True))) for row in frame.iter_rows()}


def read_text_origins(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> dict[str, str]:
    """Return from where the text of each asset comes, by its id; one without a text is left out."""
    texts = read_assets(layout, corpus, partitions).filter(pl.col("role") == Modality.TEXT.value)
    return dict(texts.select("asset_id", "origin").iter_rows())


def assets_of(frame: pl.DataFrame) -> tuple[Asset, ...]:
    """Return the assets that rows of `read_assets` describe, in their order."""
    groups: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in frame.iter_rows(named=True):
        groups.setdefault((str(row.get("partition", "")), row["asset_id"]), []).append(row)
    return tuple(_to_asset(rows) for rows in groups.values())


def _commit_rights(dataset: DatasetLayout, partition: str, rights: RightsOf) -> bool:
    head = read_head(dataset, partition)
    if head is None:
        return False
    current = read_manifest_table(dataset, ASSET_STREAMS, head)
    after = _with_rights(current, rights)
    if after.equals(current) and head.schema == ASSET_STREAMS.digest:
        return False
    _commit_frame(dataset, partition, head, after)
    return True


def _with_rights(frame: pl.DataFrame, rights: RightsOf) -> pl.DataFrame:
    """Return rows with the rights of their sources."""
    sources = frame["source_id"].unique().sort().to_list()
    said = pl.DataFrame(
        [(source, *astuple(rights(source))) for source in sources],
        schema=dict.fromkeys(("source_id", *RIGHTS_FIELDS), pl.String),
        orient="row",
    )
    bare = frame.drop(RIGHTS_FIELDS, strict=False)
    return bare.join(said, on="source_id", how="left", maintain_order="left").select(ASSET_STREAMS.names)


def _commit_joined(dataset: DatasetLayout, partition: str, incoming: pl.DataFrame) -> Manifest:
    head = read_head(dataset, partition)
    current = read_manifest_table(dataset, ASSET_STREAMS, head)
    kept = current.join(incoming.select("asset_id").unique(), on="asset_id", how="anti", maintain_order="left")
    return _commit_frame(dataset, partition, head, pl.concat([kept, incoming], rechunk=True))


def _commit_frame(dataset: DatasetLayout, partition: str, head: Manifest | None, rows: pl.DataFrame) -> Manifest:
    frame = rows.sort("source_id", "asset_id", "role")
    return commit_partition(
        dataset,
        partition,
        schema=ASSET_STREAMS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, ASSET_STREAMS, _SHARD, frame)},
        base_revision=head.revision if head else 0,
    )


def _to_frame(assets: Iterable[Asset], rights: RightsOf) -> pl.DataFrame:
    by_id: dict[str, Asset] = {}
    for asset in assets:
        if asset.asset_id in by_id:
            names = sorted((by_id[asset.asset_id].source_id, asset.source_id))
            raise StoreError(f"asset {asset.asset_id} comes twice, as {names}; count one as a duplicate first")
        by_id[asset.asset_id] = asset
    found = [by_id[key] for key in sorted(by_id)]
    return ASSET_STREAMS.frame(row for asset in found for row in _to_rows(asset, rights(asset.source_id)))


def _to_rows(asset: Asset, rights: Rights) -> Iterable[tuple[object, ...]]:
    text = asset.stream(Modality.TEXT)
    if asset.cues and text is None:
        raise StoreError(f"asset {asset.asset_id} ({asset.source_id!r}) has cues and no text stream they come from")
    said = asdict(rights)
    for stream in asset.streams:
        values: dict[str, object] = {name: getattr(stream, name) for name in _STREAM_FIELDS}  # asdict copies, slowly
        values |= {"modality": str(stream.modality), "frame_rate": float(stream.frame_rate)}
        cues = _cues_to_json(asset.cues) if stream is text else ""
        values |= {"asset_id": asset.asset_id, "source_id": asset.source_id, "cues": cues, **said}
        yield tuple(values[name] for name in ASSET_STREAMS.names)


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
