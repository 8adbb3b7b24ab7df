"""What one partition is to become, and its commit: assets, then quarantine, then the spine that makes clips of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from mmpipe.config import CorpusConfig
from mmpipe.errors import SampleError
from mmpipe.segment.clips import cut
from mmpipe.segment.split import split_of, told_split
from mmpipe.steps.ground.replay import replay_command
from mmpipe.steps.ground.text_origin import kept_words
from mmpipe.steps.ingest.acceptance import Acceptance, clip_text, default_group
from mmpipe.steps.ingest.near import write_twins
from mmpipe.steps.ingest.near_told import NO_TWINS, NearTwins
from mmpipe.steps.ingest.survey import Surveyed, write_surveyed
from mmpipe.steps.plan.clip_filters import FILTER_STAGE, find_failing
from mmpipe.store.admitted import Admitted, read_admitted
from mmpipe.store.assets import RightsOf, write_assets
from mmpipe.store.commit import read_head
from mmpipe.store.layout import ASSETS, CLIPS, QUARANTINE, StoreLayout
from mmpipe.store.quarantine import INGEST, write_quarantine
from mmpipe.store.spine import (
    IngestTotals,
    SpineRow,
    next_shard,
    plan_spine,
    read_spine_manifest,
    spine_row,
    write_spine,
)
from mmpipe.types import Asset, Clip, Drop, Modality, Split

_SAME = {
    True: "bytes in the same roles",
    False: "streams in the same roles, though in files of other bytes,",
    None: "streams in the same roles",  # the kept files were not looked at this time
}


@dataclass(slots=True, kw_only=True)
class PartitionDraft:
    """What belongs to one partition; filled while the files are sorted."""

    partition: str = ""
    kept: list[Acceptance] = field(default_factory=list)
    twins: list[tuple[Acceptance, str]] = field(default_factory=list)  # with the source id that was kept
    same_files: dict[str, bool] = field(default_factory=dict)  # of twins by source: are their files' bytes those kept
    near: list[Acceptance] = field(default_factory=list)  # dropped, for something near them is kept
    drops: list[Drop] = field(default_factory=list)
    num_filtered: int = 0
    num_tombstoned: int = 0
    surveyed: set[str] = field(default_factory=set)  # assets of which a survey is kept, refused ones too

    def add(self, entry: Acceptance, twin_of: str | None, is_near: bool = False) -> None:
        """Take in a stem."""
        self.drops += entry.drops
        self.num_tombstoned += len(entry.files) if entry.forgotten_in else 0
        self.surveyed.update(entry.refused)
        if entry.asset is None:
            return
        if is_near:
            self.near.append(entry)
            self.surveyed.add(entry.asset.asset_id)
        elif twin_of:
            self.twins.append((entry, twin_of))
        else:
            self.kept.append(entry)
            self.surveyed.add(entry.asset.asset_id)

    def totals(self) -> IngestTotals:
        """Return where every file went."""
        used = sum(len(set(entry.files) - entry.dropped_files) for entry in self.kept)
        twins = [*(entry for entry, _ in self.twins), *self.near]
        duplicates = sum(len(set(entry.files) - entry.dropped_files) for entry in twins)
        quarantined = len({drop.file for drop in self.drops if drop.file and not drop.kept})
        return IngestTotals(
            files=used + duplicates + quarantined + self.num_filtered + self.num_tombstoned,
            used=used,
            quarantined=quarantined,
            duplicates=duplicates,
            filtered=self.num_filtered,
            tombstoned=self.num_tombstoned,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionCount:
    """What a partition came to."""

    partition: str
    files: int
    used: int
    quarantined: int
    duplicates: int
    filtered: int  # left out by rule: hidden, junk, excluded, not of the pattern
    assets: int
    clips: int
    clip_drops: int  # cues, shots, utterances, whole recordings: what makes no clip where the rule looked for one
    tombstoned: int = 0
    clips_vanished: int = 0  # of recordings that are kept though their files are gone; not among `clips`
    clips_filtered: int = 0
    clipless: int = 0  # assets of which nothing was cut, or all was filtered

    def row(self) -> dict[str, int | str]:
        """Return a row of plain values."""
        row: dict[str, int | str] = {
            "dt": self.partition,
            "files": self.files,
            "used": self.used,
            "quarantined": self.quarantined,
            "duplicates": self.duplicates,
            "left out": self.filtered,
            "assets": self.assets,
            "clips": self.clips,
            "cuts dropped": self.clip_drops,
        }
        rare = {
            "tombstoned": self.tombstoned,
            "clips of gone files": self.clips_vanished,
            "clips filtered": self.clips_filtered,
            "assets without clips": self.clipless,
        }
        return row | {name: count for name, count in rare.items() if count}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedDraft:
    """The clips of a partition, and every row of its quarantine."""

    rows: list[SpineRow]
    drops: list[Drop]
    num_uncut: int  # what makes no clip where one was looked for
    num_filtered: int  # clips


def judge_draft(
    source: CorpusConfig,
    draft: PartitionDraft,
    labels: Mapping[str, Mapping[str, str]],
    surveyed: Surveyed,
    near: NearTwins,
    admitted: Admitted,
) -> JudgedDraft:
    """Cut the assets of a partition, filter the clips, and say what falls out and why: nothing is committed."""
    rows, clip_drops = _cut_all(source, draft, labels, surveyed, near.groups)
    rows, filtered = _filter(rows, surveyed, admitted)
    drops = [*draft.drops, *clip_drops, *filtered, *_twin_drops(draft), *_near_drops(draft, near)]
    return JudgedDraft(rows=rows, drops=drops, num_uncut=len(clip_drops), num_filtered=len(filtered))


def commit_draft(
    layout: StoreLayout,
    corpus: str,
    source: CorpusConfig,
    draft: PartitionDraft,
    labels: Mapping[str, Mapping[str, str]],
    rights: RightsOf,
    surveyed: Surveyed,
    near: NearTwins = NO_TWINS,
    gone: Collection[str] = (),
    vanished: Collection[str] = (),
) -> PartitionCount:
    """Commit a partition's prints, assets, signals, quarantine and spine; what is there makes no revision.

    `gone` names assets whose clips are to be superseded whatever has taken their place, `vanished` those whose files
    are not there: their clips are counted by themselves.
    """
    assets = [entry.asset for entry in draft.kept if entry.asset]
    judged = judge_draft(source, draft, labels, surveyed, near, read_admitted(layout, corpus))
    rows, drops, totals = [*judged.rows], judged.drops, draft.totals()
    write_twins(layout, corpus, draft.partition, near, draft.surveyed)
    if assets:
        write_assets(layout.dataset(corpus, ASSETS), draft.partition, assets, rights)
    write_surveyed(layout, corpus, draft.partition, surveyed, draft.surveyed)
    quarantine = layout.dataset(corpus, QUARANTINE)
    if drops or read_head(quarantine, draft.partition):
        write_quarantine(
            quarantine, draft.partition, INGEST, drops, lambda drop: replay_command(corpus, draft.partition, drop)
        )
    clips = layout.dataset(corpus, CLIPS)
    head = read_head(clips, draft.partition)
    num_clips = num_vanished = 0
    if rows or head:
        existing = read_spine_manifest(clips, head)
        rows += _no_longer_cut(existing, assets, {row.key for row in rows})
        plan = plan_spine(
            existing,
            rows,
            shard_clips=source.shard_clips,
            superseded=_superseded(existing, draft) | set(gone),
            first_free=next_shard(head),
        )
        write_spine(clips, draft.partition, plan, totals)
        live = plan.frame.filter(~pl.col("superseded"))["asset_id"]
        num_vanished = int(live.is_in(sorted(vanished)).sum())
        num_clips = len(live) - num_vanished
    return PartitionCount(
        partition=draft.partition,
        files=totals.files,
        used=totals.used,
        quarantined=totals.quarantined,
        duplicates=totals.duplicates,
        filtered=totals.filtered,
        assets=len(assets),
        clips=num_clips,
        clip_drops=judged.num_uncut,
        tombstoned=totals.tombstoned,
        clips_vanished=num_vanished,
        clips_filtered=judged.num_filtered,
        clipless=len({asset.asset_id for asset in assets} - {row.asset_id for row in judged.rows}),
    )


def _cut_all(
    source: CorpusConfig,
    draft: PartitionDraft,
    labels: Mapping[str, Mapping[str, str]],
    surveyed: Surveyed,
    groups: Mapping[str, str],
) -> tuple[list[SpineRow], list[Drop]]:
    rows: list[SpineRow] = []
    drops: list[Drop] = []
    for entry in draft.kept:
        asset = entry.asset
        assert asset is not None, f"{entry.source_id} is kept without an asset"
        clips, dropped = cut(asset, source.clips, surveyed.marks(asset.asset_id))
        said = labels.get(asset.source_id, {})
        group = said.get(source.labels.group, "") if source.labels and source.labels.group else ""
        group = group or groups.get(asset.asset_id, "") or default_group(asset)
        column = source.labels.split if source.labels else None
        try:
            split = told_split(said.get(column, "")) if column else split_of(group, source.split)
        except SampleError as error:  # neither trained nor tested on: that would be an answer nobody gave
            drops.append(_unsplit(asset, error))
            continue
        words = asset.stream(Modality.TEXT)
        told = [replace(clip, text=kept_words(clip_text(asset, clip, entry.text), words)) for clip in clips]
        rows += [spine_row(asset, clip, group=group, split=split, labels=said) for clip in told]
        drops += dropped
    return rows, drops


def _unsplit(asset: Asset, error: SampleError) -> Drop:
    return Drop(
        stage="segment", code=error.code, detail=error.detail, source_id=asset.source_id, asset_id=asset.asset_id
    )


def _filter(rows: list[SpineRow], surveyed: Surveyed, admitted: Admitted) -> tuple[list[SpineRow], list[Drop]]:
    """Return the clips that pass all filters or were let in by a person, and a row for each of the others."""
    if not surveyed.is_asked:
        return rows, []
    signals = surveyed.signals_of({row.asset_id for row in rows})
    unmeasured = {row.key for row in rows} - set(signals["key"])
    assert not unmeasured, f"{len(unmeasured)} clips were cut and not measured"
    failing = find_failing(surveyed.filters, signals)
    failing = {key: why for key, why in failing.items() if not admitted.has(why[0].code, key)}
    drops = [
        Drop(
            stage=FILTER_STAGE,
            code=failing[row.key][0].code,
            detail=failing[row.key][1],
            source_id=row.source_id,
            asset_id=row.asset_id,
            clip_key=row.key,
        )
        for row in rows
        if row.key in failing
    ]
    return [row for row in rows if row.key not in failing], drops


def _no_longer_cut(existing: pl.DataFrame, assets: list[Asset], keys: set[str]) -> Iterator[SpineRow]:
    """Yield the committed clips of present assets that the settings no longer cut: they stay, superseded."""
    present = {asset.asset_id: asset for asset in assets}
    for row in existing.iter_rows(named=True):
        asset = present.get(row["asset_id"])
        if asset is None or row["key"] in keys:
            continue
        clip = Clip(
            key=row["key"], asset_id=row["asset_id"], start_ns=row["start_ns"], end_ns=row["end_ns"], text=row["text"]
        )
        kept = spine_row(asset, clip, group=row["group"], split=Split(row["split"]), labels=json.loads(row["labels"]))
        yield replace(kept, superseded=True)


def _superseded(existing: pl.DataFrame, draft: PartitionDraft) -> set[str]:
    """Return the assets whose source now holds other bytes."""
    now = {entry.source_id: entry.asset.asset_id for entry in draft.kept if entry.asset}
    now |= {entry.source_id: entry.asset.asset_id for entry, _ in draft.twins if entry.asset}
    now |= {entry.source_id: entry.asset.asset_id for entry in draft.near if entry.asset}
    present = set(now.values())
    pairs = existing.select("source_id", "asset_id").unique().iter_rows()
    return {asset for source, asset in pairs if asset not in present and now.get(source, asset) != asset}


def _twin_drops(draft: PartitionDraft) -> Iterator[Drop]:
    for entry, kept in draft.twins:
        what = _SAME[draft.same_files.get(entry.source_id)]
        for file in sorted(set(entry.files) - entry.dropped_files):
            yield Drop(
                stage="list",
                code="duplicate",
                detail=f"the same {what} are kept as {kept!r}",
                file=file,
                source_id=entry.source_id,
                asset_id=entry.asset.asset_id if entry.asset else "",
            )


def _near_drops(draft: PartitionDraft, near: NearTwins) -> Iterator[Drop]:
    for entry in draft.near:
        yield from near.drops_of(entry)
    yield from near.notes_of(draft.kept)
