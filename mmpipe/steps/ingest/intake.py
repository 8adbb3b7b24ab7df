"""What there is to take in: one look at a corpus's folder and labels, and what of it belongs to a date.

A look is good for every date of a run, so a range of dates costs one walk over the folder. What changes after it is
seen by the next run: the look says since when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmpipe.config import CONFIG_NAME, Config, CorpusConfig, DateRule
from mmpipe.errors import SampleError
from mmpipe.io import sha256_file
from mmpipe.sources.dates import partition_of
from mmpipe.sources.labels import read_labels
from mmpipe.sources.listing import Filtered, Listing, list_corpus
from mmpipe.sources.matching import LabelMatch, match_labels
from mmpipe.sources.stems import AssetFiles, group_files, source_id_of
from mmpipe.steps.ground.mirror import is_mirrored, list_mirror, refresh_mirror
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.rights import require_rights_columns
from mmpipe.steps.ingest.arrays import require_label_columns
from mmpipe.steps.ingest.survey import asks_for_survey, survey_settings
from mmpipe.steps.ingest.texts import require_text_columns, text_columns
from mmpipe.steps.plan.speech_model import look_of_model
from mmpipe.store.layout import StoreLayout
from mmpipe.types import Drop, RawFile, digest_of

ListFiles = Callable[[Path, frozenset[Path]], Listing]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """Everything that lies in a corpus's folder, with its labels, at one moment."""

    listing: Listing
    by_date: Mapping[str | None, tuple[AssetFiles, ...]]  # stems by source id; None: they belong to whatever date runs
    labels: LabelMatch
    drops: tuple[Drop, ...]  # strays of the folder
    undated: tuple[Drop, ...]  # files whose date cannot be told
    settings: str  # digest of the corpus's settings and labels
    pending: str = ""  # why the mirror that was looked at is not what its source has now
    started_ns: int  # a file as young as this may yet change without showing it


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What there is to take in on a date: the stems, with labels, and what fell out on the way."""

    groups: tuple[AssetFiles, ...]
    labels: LabelMatch
    drops: tuple[Drop, ...]
    dateless: frozenset[Drop]  # those of `drops` that belong to no date: the first one that sees them has their rows
    left_out: tuple[Filtered, ...]  # by rule: listed on request
    num_left_out: int  # of these, what the date counts: what has no date of its own is the first date's
    settings: str
    started_ns: int
    names: frozenset[str]  # of all files that are there, of any date and whatever becomes of them


def look_at_corpus(
    config: Config,
    corpus: str,
    list_files: ListFiles = list_corpus,
    progress: Progress = SILENT,
    refresh: bool = True,
) -> Look:
    """List a corpus's folder once, without the store and what else of ours lies in it.

    What is no local folder is brought into one first; with `refresh` off it is only asked what there would be to bring.
    """
    _, source = config.corpus(corpus)
    if is_mirrored(source):
        started_ns = time.time_ns()
        if refresh:
            return look_at_listing(source, refresh_mirror(config, corpus, progress), started_ns)
        listing, pending = list_mirror(config, corpus)
        return replace(look_at_listing(source, listing, started_ns), pending=pending)
    ours = {StoreLayout(config.store).local, source.root / CONFIG_NAME}
    exclude = ours | ({source.labels.file} if source.labels else set())
    started_ns = time.time_ns()
    return look_at_listing(source, list_files(source.root, frozenset(exclude)), started_ns)


def look_at_listing(source: CorpusConfig, listing: Listing, started_ns: int) -> Look:
    """Join the files of a listing to stems, and those with labels and dates."""
    settings = settings_digest(source)  # before the labels are read: if they change meanwhile, they are read again
    grouping = group_files(listing.files, source.arrays.suffixes, source.source.kind)
    labels = LabelMatch(labels={}, drops=(), unmatched=())
    if text_columns(source) and not source.labels:
        require_text_columns(None, source)
    if source.labels:
        table = read_labels(source.labels)
        require_text_columns(table, source)
        require_rights_columns(table, source)
        require_label_columns(table, source)
        labels = match_labels(table, grouping.assets)
    by_date: dict[str | None, list[AssetFiles]] = {}
    undated: list[Drop] = []
    for group in grouping.assets:
        try:
            date = partition_of(group, source.dates, labels.labels.get(group.source_id))
        except SampleError as error:
            undated += [_undated(group, file, error) for file in group.files]
            continue
        by_date.setdefault(date, []).append(group)
    return Look(
        listing=listing,
        by_date={date: tuple(groups) for date, groups in by_date.items()},
        labels=labels,
        drops=(*listing.drops, *grouping.drops),
        undated=tuple(undated),
        settings=settings,
        started_ns=started_ns,
    )


def take_in(source: CorpusConfig, dt: str, look: Look) -> Intake:
    """Pick what belongs to a date."""
    groups = [*look.by_date.get(None, ()), *look.by_date.get(dt, ())]
    sticky = source.dates.rule is DateRule.FIRST_SEEN
    mine = {group.source_id for group in groups}
    said = list(_not_of_others(look, mine)) if look.labels.drops else []
    strays = [(drop, dt if sticky else _date_of(drop.file, source)) for drop in look.drops]
    dated = [drop for drop, date in strays if date == dt] + [drop for drop in said if sticky or drop.source_id in mine]
    dateless: list[Drop] = []
    if groups or not look.by_date:  # where nothing has a date, any date tells it
        dateless = [*look.undated, *(drop for drop, date in strays if date is None)]
        dateless += [drop for drop in said if not sticky and drop.source_id not in mine]
    faults = look.labels.faults if groups or sticky else ()
    left_out = [(entry, dt if sticky else _date_of(entry.name, source)) for entry in look.listing.filtered]
    first = min((date for date in look.by_date if date is not None), default=dt)
    return Intake(
        groups=tuple(sorted(groups, key=lambda group: group.source_id)),
        labels=look.labels,
        drops=(*dated, *faults, *dateless),
        dateless=frozenset(dateless),
        left_out=tuple(entry for entry, date in left_out if date in (None, dt)),
        num_left_out=sum((date or first) == dt for _, date in left_out),
        settings=look.settings,
        started_ns=look.started_ns,
        names=frozenset(_names(look.listing)),
    )


def _names(listing: Listing) -> Iterator[str]:
    yield from (file.name for file in listing.files)
    yield from (drop.file for drop in listing.drops)
    yield from (entry.name for entry in listing.filtered)


def _not_of_others(look: Look, mine: Collection[str]) -> Iterator[Drop]:
    """Yield the rows of the labels that are about stems of a date, or about none that has a date."""
    others = {group.source_id for found in look.by_date.values() for group in found}.difference(mine)
    yield from (drop for drop in look.labels.drops if drop.source_id not in others)


def settings_digest(source: CorpusConfig) -> str:
    """Return the digest of all that decides what an ingest makes of a folder, and of the labels beside it.

    Where both lie is left out: a project that was moved is the same project.
    """
    kept_out: dict[str, Any] = {"root": True, "labels": {"file"}, "source": {"file"}}
    kept_out |= dict.fromkeys(("features", "renditions", "banks", "max_age_h", "max_quarantined", "rights"), True)
    kept_out |= dict.fromkeys(source.beside, True)
    settings = source.model_dump_json(exclude=kept_out)
    labels = sha256_file(source.labels.file) if source.labels and source.labels.file.exists() else ""
    speech = look_of_model(source.text.asr) if source.text.asr else ""
    rights = (part for item in sorted(source.rights.columns.items()) for part in item)
    measured = [survey_settings(source)] if asks_for_survey(source) else []
    return digest_of(settings, labels, *([speech] if speech else ()), *rights, *measured)


def _undated(group: AssetFiles, file: RawFile, error: SampleError) -> Drop:
    return Drop(stage="list", code=error.code, detail=error.detail, file=file.name, source_id=group.source_id)


def _date_of(name: str, source: CorpusConfig) -> str | None:
    """Return the date that the name of what is no media shows; None where it shows none, or names tell none."""
    if source.dates.rule is not DateRule.PATH:
        return None
    file = RawFile(name=name, nbytes=0, mtime_ns=0, inode=0)
    try:
        source_id = source_id_of(name, source.source.kind)
        return partition_of(AssetFiles(source_id=source_id, files=(file,)), source.dates, None)
    except SampleError:
        return None
