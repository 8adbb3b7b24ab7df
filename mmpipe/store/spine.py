"""The spine: one row per clip, append-only per partition. It owns the place (shard, ordinal) of every clip.

New clips fill new shards; a committed clip keeps its place and what it is made of for ever. Only what people say about
a clip may change: its labels, group, split, and whether it was superseded.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter

import polars as pl

from mmpipe.errors import StoreError, TransientError
from mmpipe.store.commit import commit_partition
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.spinecard import write_spine_card
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_partitions, read_some_shards
from mmpipe.types import Asset, Clip, Modality, Split, digest_of

_FIRST_COLUMNS: tuple[tuple[str, type[pl.DataType]], ...] = (
    ("key", pl.String),
    ("shard", pl.Int32),
    ("ordinal", pl.Int32),
    ("asset_id", pl.String),
    ("source_id", pl.String),
    ("start_ns", pl.Int64),
    ("end_ns", pl.Int64),
    ("group", pl.String),
    ("split", pl.String),
    ("text", pl.String),
    ("labels", pl.String),
    ("superseded", pl.Boolean),
    ("video", pl.String),
    ("audio", pl.String),
    ("image", pl.String),
    ("text_stream", pl.String),
)
_REPEATING = ("asset_id", "source_id", "group", "split", "labels", "video", "audio", "image", "text_stream")
SPINE = TableKind(
    name="spine",
    columns=(*_FIRST_COLUMNS, ("array", pl.String)),
    dictionary=(*_REPEATING, "array"),
    older=(TableKind(name="spine", columns=_FIRST_COLUMNS, dictionary=_REPEATING),),
    fill=(("array", ""),),
)
VIEW_COLUMNS = ("group", "split", "labels", "superseded")  # what a later revision may say differently
_FIXED_COLUMNS = [name for name in SPINE.names if name not in VIEW_COLUMNS]
# A renamed file keeps the source id under which its bytes were first seen, so this may differ in what comes in.
_CONTENT_COLUMNS = [name for name in _FIXED_COLUMNS if name not in ("key", "shard", "ordinal", "source_id")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpineRow:
    """A clip as the ingest knows it; its place is given by `plan_spine`."""

    key: str
    asset_id: str
    source_id: str
    start_ns: int
    end_ns: int
    group: str
    split: Split
    text: str = ""  # what is said in the clip; of the cue that cut it, where one did
    labels: Mapping[str, str] = field(default_factory=dict)
    superseded: bool = False
    video: str = ""  # digests of the asset's streams; "" where it has none
    audio: str = ""
    image: str = ""
    text_stream: str = ""
    array: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpinePlan:
    """The whole of a partition's spine before and after, and the shards that must be written."""

    existing: pl.DataFrame
    frame: pl.DataFrame
    changed: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestTotals:
    """What became of every file of a partition: nothing is lost without a word."""

    files: int
    used: int
    quarantined: int = 0
    duplicates: int = 0
    filtered: int = 0
    tombstoned: int = 0

    def __post_init__(self) -> None:
        """Hold the accounting invariant."""
        counts = asdict(self)
        if min(counts.values()) < 0 or self.files != sum(counts.values()) - self.files:
            raise StoreError(
                f"{self.files} files are not {self.used} used + {self.quarantined} quarantined + "
                f"{self.duplicates} duplicates + {self.filtered} filtered + {self.tombstoned} tombstoned"
            )


def spine_row(asset: Asset, clip: Clip, *, group: str, split: Split, labels: Mapping[str, str]) -> SpineRow:
    """Return the row of a clip of an asset, with the digests of its streams."""
    digests = {modality: (stream.digest if (stream := asset.stream(modality)) else "") for modality in Modality}
    return SpineRow(
        key=clip.key,
        asset_id=clip.asset_id,
        source_id=asset.source_id,
        start_ns=clip.start_ns,
        end_ns=clip.end_ns,
        group=group,
        split=split,
        text=clip.text,
        labels=labels,
        video=digests[Modality.VIDEO],
        audio=digests[Modality.AUDIO],
        image=digests[Modality.IMAGE],
        text_stream=digests[Modality.TEXT],
        array=digests[Modality.ARRAY],
    )


def plan_spine(
    existing: pl.DataFrame | None,
    rows: Iterable[SpineRow],
    *,
    shard_clips: int,
    superseded: Collection[str] = (),
    first_free: int = 0,
) -> SpinePlan:
    """Place new clips in new shards of `shard_clips`, and take over what rows say of clips that are there already.

    `first_free` is the manifest's `next_shard`: a shard whose clips were all forgotten keeps its number. The order
    of new clips depends on their values alone, not on the order they came in. `superseded` names assets whose clips
    are no longer live. StoreError: a clip comes twice, or its content differs under the same key.
    """
    before = SPINE.frame() if existing is None else existing.select(SPINE.names).sort("shard", "ordinal")
    incoming = _incoming_frame(rows)
    known = incoming.join(before.select("key"), on="key", how="semi")
    _require_same_content(before, known)
    fresh = incoming.join(before.select("key"), on="key", how="anti", maintain_order="left")
    after = pl.concat(
        [_with_views(before, known), _place(fresh, max(first_free, _next_row_shard(before)), shard_clips)], rechunk=True
    )
    gone = pl.col("asset_id").is_in(sorted(superseded))
    after = after.with_columns(pl.col("superseded") | gone)
    return SpinePlan(existing=before, frame=after, changed=_changed_shards(before, after))


def write_spine(
    dataset: DatasetLayout, partition: str, plan: SpinePlan, totals: IngestTotals | None = None
) -> Manifest:
    """Commit a planned spine; `totals` of None keeps those of the head, as for a correction of labels.

    TransientError: the spine is no longer what the plan was made on. StoreError: the plan moves, changes or loses
    a committed clip.
    """
    head = read_head(dataset, partition)
    current = read_manifest_table(dataset, SPINE, head)
    if not (current.equals(plan.existing) or current.equals(plan.frame)):
        raise TransientError(
            f"{dataset.corpus}/{CLIPS} dt={partition} was committed anew since this ingest read it. Run the same again."
        )
    _require_append_only(current, plan.frame, next_shard(head))
    shards = {}
    for (number,), frame in plan.frame.partition_by("shard", as_dict=True, maintain_order=True).items():
        if number in plan.changed:
            entry = put_table(dataset, partition, SPINE, number, frame)
            shards[number] = replace(entry, inputs=identity_digest(frame))
    return commit_partition(
        dataset,
        partition,
        schema=SPINE.digest,
        fingerprint="",
        shards=shards,
        totals=None if totals is None else asdict(totals),
        base_revision=head.revision if head else 0,
        then=lambda: write_spine_card(dataset),
    )


def read_spine(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the newest spine of a corpus in (partition, shard, ordinal) order; the first column is the partition."""
    return read_partitions(layout.dataset(corpus, CLIPS), SPINE, partitions)


def read_spine_shards(layout: StoreLayout, corpus: str, partition: str, numbers: Collection[int]) -> pl.DataFrame:
    """Return some shards of a partition's newest spine, without the partition column."""
    dataset = layout.dataset(corpus, CLIPS)
    return read_some_shards(dataset, SPINE, read_head(dataset, partition), numbers)


def read_spine_manifest(dataset: DatasetLayout, manifest: Manifest | None) -> pl.DataFrame:
    """Return one partition's spine as a certain revision says it, without the partition column."""
    return read_manifest_table(dataset, SPINE, manifest)


def identity_digest(frame: pl.DataFrame) -> str:
    """Return the digest of what clips are, in their order: a corrected label leaves it alone."""
    columns = SPINE.widen(frame).select(_FIXED_COLUMNS)
    if columns["array"].str.len_bytes().max() == 0:
        columns = columns.drop("array")  # what no clip has says nothing: as in stores from before there were arrays
    return digest_of(*(str(value) for row in columns.iter_rows() for value in row))


def _incoming_frame(rows: Iterable[SpineRow]) -> pl.DataFrame:
    """Return rows as a frame whose place is still open."""
    ordered = sorted(rows, key=attrgetter("source_id", "start_ns", "end_ns", "key"))
    frame = SPINE.frame(_values(row) for row in ordered)
    twice = frame.filter(pl.col("key").is_duplicated())
    if not twice.is_empty():
        first = twice.row(0, named=True)
        raise StoreError(f"clip {first['key']} of {first['source_id']!r} comes twice; drop one as a duplicate first")
    return frame


def _values(row: SpineRow) -> tuple[object, ...]:
    """Return a row's values in the order of the columns."""
    values = {
        **{name: getattr(row, name) for name in SPINE.names if name not in ("shard", "ordinal")},
        "shard": -1,
        "ordinal": -1,
        "split": str(row.split),
        "labels": json.dumps(dict(row.labels), sort_keys=True, ensure_ascii=False, separators=(",", ":")),
    }
    return tuple(values[name] for name in SPINE.names)


def next_shard(head: Manifest | None) -> int:
    """Return the lowest number that no shard of a partition ever had; an emptied shard stays in the manifest."""
    return max((shard.number for shard in head.shards), default=-1) + 1 if head else 0


def _next_row_shard(before: pl.DataFrame) -> int:
    return 0 if before.is_empty() else int(before["shard"][-1]) + 1


def _place(fresh: pl.DataFrame, first_shard: int, shard_clips: int) -> pl.DataFrame:
    """Give rows, in their order, the places of new shards."""
    row = pl.int_range(pl.len())
    return fresh.with_columns(
        shard=(first_shard + row // shard_clips).cast(pl.Int32), ordinal=(row % shard_clips).cast(pl.Int32)
    )


def _with_views(before: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return committed rows with the view columns of those that came again."""
    if known.is_empty():
        return before
    joined = before.join(known.select("key", *VIEW_COLUMNS), on="key", how="left", suffix="_now", maintain_order="left")
    return joined.with_columns(pl.coalesce(f"{name}_now", name).alias(name) for name in VIEW_COLUMNS).select(
        SPINE.names
    )


def _require_same_content(before: pl.DataFrame, known: pl.DataFrame) -> None:
    joined = known.join(before, on="key", how="left", suffix="_before", maintain_order="left")
    for name in _CONTENT_COLUMNS:
        differing = joined.filter(pl.col(name) != pl.col(f"{name}_before"))
        if not differing.is_empty():
            row = differing.row(0, named=True)
            raise StoreError(
                f"clip {row['key']} of {row['source_id']!r} is committed with {name} {row[f'{name}_before']!r} "
                f"and came again with {row[name]!r}: a key never changes its content"
            )


def _require_append_only(current: pl.DataFrame, frame: pl.DataFrame, first_free: int) -> None:
    """Refuse a frame that touches more of committed clips than their view columns, or places clips wrongly."""
    kept = frame.join(current.select("key"), on="key", how="semi", maintain_order="left")
    if not kept.select(_FIXED_COLUMNS).equals(current.select(_FIXED_COLUMNS)):
        raise StoreError(
            "the spine is append-only: a new revision may change the columns "
            f"{', '.join(VIEW_COLUMNS)} of committed clips, and nothing else of them"
        )
    added = frame.join(current.select("key"), on="key", how="anti", maintain_order="left")
    if not added.is_empty() and added["shard"].min() != first_free:
        raise StoreError("the spine is append-only: new clips go to new shards, not into committed ones")
    _require_places(frame, added)


def _require_places(frame: pl.DataFrame, added: pl.DataFrame) -> None:
    """Hold keys unique and places rising; only what was forgotten may leave a gap, so new shards have none."""
    place = frame.select(
        unique=pl.col("key").is_unique().all(),
        ordinals=(pl.col("ordinal").diff().over("shard").fill_null(1) > 0).all() & (pl.col("ordinal") >= 0).all(),
        shards=(pl.col("shard").diff().fill_null(0) >= 0).all() & (pl.col("shard") >= 0).all(),
    ).row(0)
    fresh = added.select(
        ordinals=(pl.col("ordinal") == pl.int_range(pl.len()).over("shard")).all(),
        shards=(pl.col("shard") - pl.col("shard").first() == pl.col("shard").rle_id()).all(),
    ).row(0)
    if not all(place) or not all(fresh):
        raise StoreError(
            "a spine needs unique keys and rising shards and ordinals; in new shards they count without gaps"
        )


def _changed_shards(before: pl.DataFrame, after: pl.DataFrame) -> tuple[int, ...]:
    """Return the numbers of shards that are new or say something new."""
    same = after.join(before, on=SPINE.names, how="anti")
    return tuple(sorted(same["shard"].unique().to_list()))
