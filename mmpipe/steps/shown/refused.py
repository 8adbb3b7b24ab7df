"""Show what was put aside: each reason with something to see of one file of it, and near twins side by side."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl

from mmpipe.config import Config
from mmpipe.report.values import EvidenceShown, QuarantineReason, SameShown, TwinShown
from mmpipe.steps.ingest.near import stand_in
from mmpipe.steps.ingest.near_told import NEAR
from mmpipe.steps.plan.clip_filters import FILTER_STAGE
from mmpipe.steps.shown.pictures import show_files
from mmpipe.steps.workers.shower import Evidence
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.prints import read_prints
from mmpipe.types import Modality

MOST_REASONS = 16  # that are looked into
MOST_TWINS = 6
MOST_SAME = 8
_DUPLICATE = "duplicate"
_STAGES = {FILTER_STAGE: "left out by a filter of the config"}  # the others are called as they are
_GONE = "something that is no longer here"
_HARMFUL = ("worker_killed", "timeout", "memory", "crashed")
_NOT_AGAIN = EvidenceShown(note="not opened again: it has ended a worker process")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedShown:
    """What was put aside, and the pictures of it by name."""

    reasons: tuple[QuarantineReason, ...]
    twins: tuple[TwinShown, ...]
    num_twins: int
    same: tuple[SameShown, ...]
    num_same: int
    pictures: Mapping[str, bytes]


def show_refused(
    config: Config, layout: StoreLayout, corpus: str, live: pl.DataFrame, drops: pl.DataFrame
) -> RefusedShown:
    """Return the reasons, most frequent first, and some twins; all files are opened in one go, by workers.

    What is in use all the same has only a note there, and was not refused.
    """
    drops = drops.filter(~pl.col("kept"))
    reasons = list(_reasons(drops))
    twins = list(_twins(layout, corpus, live, drops))
    names = [reason.example for reason in reasons[:MOST_REASONS] if reason.code not in _HARMFUL]
    files = set(drops["file"])
    wanted = [name for name in names if name in files]
    wanted += [file for twin in twins for file in (twin.kept_file, twin.dropped_file) if file]
    found = show_files(config, layout, corpus, wanted)
    seen = {file: one.picture_base64 for file, one in found.items() if one.picture_base64}
    return RefusedShown(
        reasons=tuple(_with_evidence(reason, found) for reason in reasons),
        twins=tuple(_shown(twin, found) for twin in twins),
        num_twins=drops.filter(pl.col("code") == NEAR)["asset_id"].n_unique(),
        same=tuple(_same(live, drops)),
        num_same=_copies(drops).height,
        pictures={picture_name(file): base64.b64decode(data) for file, data in seen.items()},
    )


def picture_name(file: str) -> str:
    """Return under which name a page has the picture of a file; clips have their keys."""
    return f"file {file}"


def _reasons(drops: pl.DataFrame) -> Iterator[QuarantineReason]:
    rows = drops.sort("stage", "code", "file", "clip_key")
    groups = [
        (group.row(0, named=True), group.height) for _, group in rows.group_by("stage", "code", maintain_order=True)
    ]
    for first, count in sorted(groups, key=lambda one: (-one[1], one[0]["stage"], one[0]["code"])):
        yield QuarantineReason(
            stage=_STAGES.get(first["stage"], first["stage"]),
            code=first["code"],
            count=count,
            example=first["file"] or first["clip_key"] or first["source_id"],
            detail=first["detail"],
            replay=first["replay"],
        )


def _copies(drops: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each recording that was left out because it is here already."""
    rows = drops.filter(pl.col("code") == _DUPLICATE).sort("partition", "source_id", "file")
    return rows.unique(["partition", "source_id"], keep="first", maintain_order=True)


def _same(live: pl.DataFrame, drops: pl.DataFrame) -> Iterator[SameShown]:
    """Yield some copies, each beside what is kept: both are one asset, for they have the same content."""
    copies = _copies(drops)[:MOST_SAME]
    there = live.filter(pl.col("asset_id").is_in(copies["asset_id"].implode())).sort("partition", "source_id")
    kept_as = dict(there.unique("asset_id", keep="first", maintain_order=True).select("asset_id", "source_id").rows())
    for row in copies.iter_rows(named=True):
        kept = kept_as.get(row["asset_id"], _GONE)
        yield SameShown(kept=kept, dropped=row["source_id"], detail=row["detail"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Twin:
    shown: TwinShown
    kept_file: str
    dropped_file: str


def _twins(layout: StoreLayout, corpus: str, live: pl.DataFrame, drops: pl.DataFrame) -> Iterator[_Twin]:
    rows = drops.filter(pl.col("code") == NEAR).sort("partition", "source_id", "file")
    if rows.is_empty():
        return
    prints = read_prints(layout, corpus).filter(pl.col("verdict") == NEAR).sort("distance")
    decided = {row["asset_id"]: row for row in prints.iter_rows(named=True)}
    streams = read_assets(layout, corpus)
    kept_as = {stand_in(asset): asset for asset in sorted(set(live["asset_id"]))}
    for asset in rows["asset_id"].unique(maintain_order=True).to_list()[:MOST_TWINS]:
        row = _media(rows, asset)
        decision = decided.get(asset)
        kept = streams.filter(pl.col("asset_id") == kept_as.get(decision["twin"], "") if decision else pl.lit(False))
        yield _Twin(
            shown=TwinShown(
                kept=kept["source_id"][0] if kept.height else _GONE,
                dropped=row["source_id"],
                distance=decision["distance"] if decision else 0.0,
            ),
            kept_file=_file_to_see(kept),
            dropped_file=row["file"],
        )


def _media(rows: pl.DataFrame, asset: str) -> dict[str, str]:
    """Return the row of a file with more to see than a text that goes with it: its reason says the distance."""
    mine = rows.filter(pl.col("asset_id") == asset)
    beside = pl.col("detail").str.starts_with("goes with")
    return mine.sort(beside, "file").row(0, named=True)


def _file_to_see(streams: pl.DataFrame) -> str:
    order = [str(kind) for kind in (Modality.VIDEO, Modality.IMAGE, Modality.AUDIO, Modality.TEXT)]
    seen = streams.filter(pl.col("file") != "")
    files = dict(seen.select("modality", "file").iter_rows())
    return next((files[kind] for kind in order if kind in files), "")


def _with_evidence(reason: QuarantineReason, found: Mapping[str, Evidence]) -> QuarantineReason:
    if reason.code in _HARMFUL:
        return replace(reason, evidence=_NOT_AGAIN)
    one = found.get(reason.example)
    if one is None:
        return reason
    picture = picture_name(reason.example) if one.picture_base64 else ""
    return replace(reason, evidence=EvidenceShown(picture=picture, excerpt=one.text, note=one.note))


def _shown(twin: _Twin, found: Mapping[str, Evidence]) -> TwinShown:
    kept, dropped = found.get(twin.kept_file), found.get(twin.dropped_file)
    return replace(
        twin.shown,
        kept_picture=picture_name(twin.kept_file),
        dropped_picture=picture_name(twin.dropped_file),
        kept_excerpt=kept.text if kept else "",
        dropped_excerpt=dropped.text if dropped else "",
    )
