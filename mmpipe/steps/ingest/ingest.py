"""Take in what is new in a corpus: list, probe in workers, join to assets, cut into clips, commit.

Every file of the listing ends in exactly one place: used, quarantined with a reason, a duplicate, or left out by rule.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mmpipe.config import Config, CorpusConfig, DateRule
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.errors import PartialError, ShardError
from mmpipe.media.captions import reading_of
from mmpipe.media.probe import PROBE_VERSION, ProbedFile
from mmpipe.sources.listing import Listing
from mmpipe.sources.matching import LABELS_STAGE
from mmpipe.steps.ground.mirror import media_root
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.rights import RightsSaid, note_rights
from mmpipe.steps.ground.scan import read_scan, scan_path, write_scan
from mmpipe.steps.ground.watching import clip_tables, folder_table, new_drops_logged, watch_stage
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.ingest.acceptance import Acceptance, accept_asset, refuse_forgotten
from mmpipe.steps.ingest.arrays import add_label_numbers
from mmpipe.steps.ingest.banks import keep_train_clips
from mmpipe.steps.ingest.given_up import drop_given_up
from mmpipe.steps.ingest.homes import Homes, read_homes
from mmpipe.steps.ingest.ingest_record import (
    exceptions_digest,
    has_same_exceptions,
    listing_digest,
    read_record,
    record_key,
    write_record,
)
from mmpipe.steps.ingest.ingest_report import IngestReport
from mmpipe.steps.ingest.intake import Intake, Look, look_at_corpus, look_at_listing, settings_digest, take_in
from mmpipe.steps.ingest.near import find_twins, read_known_prints
from mmpipe.steps.ingest.near_rows import printed_now
from mmpipe.steps.ingest.near_told import NO_TWINS, NearTwins
from mmpipe.steps.ingest.partition_draft import PartitionDraft, commit_draft
from mmpipe.steps.ingest.survey import require_survey, survey_corpus
from mmpipe.steps.ingest.taken_back import find_refused_again, supersede
from mmpipe.steps.ingest.texts import give_texts
from mmpipe.steps.ingest.vanished import find_vanished
from mmpipe.steps.plan.feature_set import check_tables
from mmpipe.steps.workers.worker import ProbeWork
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.admitted import read_admitted
from mmpipe.store.layout import StoreLayout, check_partition, create_store
from mmpipe.store.lease import Lease
from mmpipe.store.tombstones import FILE, STREAM, Tombstones, read_tombstones
from mmpipe.types import Drop, RawFile, digest_of
from mmpipe.watch.stage import Stage
from mmpipe.watch.watcher import OpenStage

PROBE_BATCH = 32
FUNCTION = "mmpipe.steps.workers.worker:probe_files"


def ingest_corpus(
    config: Config, corpus: str, dt: str, progress: Progress = SILENT, look: Look | None = None
) -> IngestReport:
    """Bring a corpus's partition up to its files, as a look has them or as they are now.

    PartialError, after the commit, where too many are unusable.
    """
    check_partition(dt)
    _, source = config.corpus(corpus)
    check_tables(config)  # before hours of work, not after
    layout = create_store(config.store)
    with watch_stage(config, Stage.INGEST, corpus=corpus, dates=(dt,)) as stage:
        with Lease.acquire(layout, f"ingest-{corpus}"), new_drops_logged(layout, corpus):
            intake = take_in(source, dt, look or look_at_corpus(config, corpus, progress=progress))
            report = _ingest(config, layout, corpus, source, dt, intake, progress)
        _tell(stage, layout, source, report)
        if report.quarantined_share > source.max_quarantined:
            raise PartialError(
                f"{report.quarantined_share:.0%} of the files of {corpus!r} are in quarantine, allowed are "
                f"{source.max_quarantined:.0%} (`max_quarantined`). What is good is committed. "
                f"See: mmpipe quarantine ls --corpus {corpus}",
                report,
            )
    return report


def _tell(stage: OpenStage, layout: StoreLayout, source: CorpusConfig, report: IngestReport) -> None:
    """Say to whoever watches what an ingest came to."""
    dates = [count.partition for count in report.partitions]
    stage.read(lambda: [folder_table(source.root)])
    stage.made(partial(clip_tables, layout, report.corpus, dates))
    names = ("files", "used", "quarantined", "clips")
    stage.count(probed=report.probed, **{name: sum(getattr(c, name) for c in report.partitions) for name in names})


def ingest_listing(config: Config, corpus: str, dt: str, listing: Listing, progress: Progress = SILENT) -> IngestReport:
    """Take in certain files of a corpus's root, as a question to a model does."""
    _, source = config.corpus(corpus)
    intake = take_in(source, dt, look_at_listing(source, listing, time.time_ns()))
    return _ingest(config, create_store(config.store), corpus, source, dt, intake, progress)


def ingest_reason(config: Config, corpus: str, dt: str, look: Look | None = None) -> str:
    """Say why an ingest is due, "" where it is not: the files and settings are those that were taken in."""
    _, source = config.corpus(corpus)
    layout = StoreLayout(config.store)
    record = read_record(layout, corpus)
    if not record:
        return "never ingested"
    if not has_same_exceptions(record, record_key(source, dt), exceptions_digest(layout, corpus, source, dt)):
        return "something was released, or a release was taken back"
    if record.get("settings") != (look.settings if look else settings_digest(source)):
        return "the corpus's settings or labels changed"
    look = look or look_at_corpus(config, corpus, refresh=False)
    if look.pending:
        return look.pending
    intake = take_in(source, dt, look)
    noted = record.get("listings", {}).get(record_key(source, dt), listing_digest((), ()))
    if noted != listing_digest(intake.groups, intake.drops):
        return "files were added, removed or changed"
    return ""


def _ingest(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    source: CorpusConfig,
    dt: str,
    intake: Intake,
    progress: Progress,
) -> IngestReport:
    started, started_ns = time.monotonic(), intake.started_ns
    require_survey(corpus, source)
    source = source.model_copy(update={"root": media_root(layout, corpus, source)})  # every stage reads files there
    files = [file for group in intake.groups for file in group.files]
    tombstones, exceptions = read_tombstones(layout, corpus), exceptions_digest(layout, corpus, source, dt)
    probed, num_opened = _probe_files(config, layout, corpus, source, files, tombstones, started_ns, progress)
    accepted = [refuse_forgotten(accept_asset(group, probed), tombstones) for group in intake.groups]
    accepted = give_texts(config, layout, corpus, source, accepted, intake.labels.labels, progress)
    accepted, cell_notes = add_label_numbers(accepted, source, intake.labels.labels)
    prints = read_known_prints(layout, corpus, source)
    surveyed = survey_corpus(config, layout, corpus, source, accepted, progress, printed_now(prints))
    accepted = [refuse_forgotten(entry, tombstones) for entry in surveyed.accepted]
    homes = read_homes(layout, corpus)
    admitted = read_admitted(layout, corpus)
    vanished = find_vanished(layout, corpus, source, dt, accepted, intake.names)
    near = find_twins(source, prints, surveyed.prints, accepted, homes, admitted, intake.labels.labels, vanished)
    said = RightsSaid(config=source.rights, table=intake.labels)
    faults = said.faults({group.source_id for group in intake.groups})
    drops = [*_told_here(intake, homes, dt), *cell_notes, *faults]
    drafts = draft_partitions(accepted, drops, intake.num_left_out, homes, source.dates.rule, dt, near)
    labels = intake.labels.labels
    gone = vanished.retired_beside(find_refused_again(layout, corpus, drafts, admitted))
    dates = {*gone, *(draft.partition for draft in drafts)}
    counts = [
        commit_draft(
            layout,
            corpus,
            source,
            draft,
            labels,
            said.of,
            surveyed,
            near,
            gone.pop(draft.partition, ()),
            vanished.assets,
        )
        for draft in drafts
    ]
    for partition, asset_ids in sorted(gone.items()):
        supersede(layout, corpus, source, partition, asset_ids)
    drop_given_up(layout, corpus, dates)
    note_rights(layout, corpus, source, intake.labels, [draft.partition for draft in drafts])
    keep_train_clips(layout, corpus)
    write_record(layout, corpus, source, dt, intake, exceptions)
    return IngestReport(
        corpus=corpus,
        partitions=tuple(counts),
        unmatched_labels=intake.labels.unmatched,
        probed=num_opened,
        seconds=time.monotonic() - started,
        unusable_labels=len(intake.labels.faults) + len(intake.labels.drops),
        left_out=intake.left_out,
        vanished=vanished,
    )


def _told_here(intake: Intake, homes: Homes, dt: str) -> list[Drop]:
    """Return what fell out before any file was opened; what belongs to no date is told by the first that saw it."""

    def home_of(drop: Drop) -> str | None:
        return homes.of_file(drop.file) if drop.file else homes.of(drop.source_id, None)

    return [drop for drop in intake.drops if drop not in intake.dateless or home_of(drop) in (None, dt)]


def draft_partitions(
    accepted: Sequence[Acceptance],
    drops: Iterable[Drop],
    num_filtered: int,
    homes: Homes,
    rule: DateRule,
    dt: str,
    near: NearTwins = NO_TWINS,
) -> list[PartitionDraft]:
    """Say for every stem and stray file to which partition it belongs, and which stems hold the same bytes: pure."""
    drafts: dict[str, PartitionDraft] = {}
    sticky = rule is DateRule.FIRST_SEEN
    present = {(entry.asset.asset_id, entry.source_id): entry for entry in accepted if entry.asset}
    kept_as: dict[str, str] = {}
    for entry in sorted(accepted, key=lambda entry: entry.source_id):
        home = entry.forgotten_in or homes.of(entry.source_id, entry.asset.asset_id if entry.asset else None)
        draft = drafts.setdefault(home or dt if sticky else dt, PartitionDraft())
        twin, is_near = None, bool(entry.asset and entry.asset.asset_id in near.details)
        if entry.asset and not is_near:
            first = homes.first_source(entry.asset.asset_id)
            if (
                first
                and first != entry.source_id
                and ((entry.asset.asset_id, first) in present or (not sticky and homes.of(first, None) != dt))
            ):
                twin = first
            else:
                twin = kept_as.get(entry.asset.asset_id)
                kept_as.setdefault(entry.asset.asset_id, entry.source_id)
        draft.add(entry, twin, is_near)
        if entry.asset and twin and (kept := present.get((entry.asset.asset_id, twin))):
            draft.same_files[entry.source_id] = _digests(entry) == _digests(kept)
    for drop in drops:
        home = homes.of_file(drop.file) or homes.of(drop.source_id, None)
        if drop.stage == LABELS_STAGE and not sticky and home not in (None, dt):
            continue  # it is about no file, and so of the date that saw it first
        drafts.setdefault(home or dt if sticky else dt, PartitionDraft()).drops.append(drop)
    if num_filtered and drafts:
        # Files left out by rule have no date of their own; the first partition counts them.
        first = homes.first_partition() or dt
        drafts[first if sticky and first in drafts else min(drafts)].num_filtered = num_filtered
    for partition, draft in drafts.items():
        draft.partition = partition
    return [drafts[partition] for partition in sorted(drafts)]


def _digests(entry: Acceptance) -> set[str]:
    return {stream.file_sha256 for stream in entry.asset.streams} if entry.asset else set()


def _probe_files(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    source: CorpusConfig,
    files: Sequence[RawFile],
    tombstones: Tombstones,
    started_ns: int,
    progress: Progress,
) -> tuple[dict[str, ProbedFile], int]:
    """Return what every file is, opening only those that are not known unchanged; and how many were opened."""
    path = scan_path(layout, corpus)
    reading = (source.arrays.model_dump_json(), *reading_of(".csv", source.text))
    settings = digest_of(PROBE_VERSION, source.limits.model_dump_json(), *reading, repr(source.damage.max_missing))
    scan = read_scan(path, settings)
    known = {file: found for file in files if (found := scan.known(file))}
    unknown = [file for file in files if file not in known]
    progress.start("probe", len(unknown))
    root, released = media_root(layout, corpus, source), read_admitted(layout, corpus).codes_of
    probes = probe_in_workers(config, root, source, unknown, progress, released)
    for file, found in zip(unknown, probes, strict=True):
        known[file] = found
    if unknown or len(scan.probes) != len(files):
        # Of what was forgotten no name is kept, though it is looked at each time that its file is still there.
        kept = ((file, found) for file, found in known.items() if not _is_forgotten(found, tombstones))
        write_scan(path, settings, kept, started_ns)
    return {file.name: found for file, found in known.items()}, len(unknown)


def _is_forgotten(found: ProbedFile, tombstones: Tombstones) -> bool:
    digests = [stream.digest for stream in found.streams]
    return bool(tombstones.find(STREAM, digests) or tombstones.find(FILE, [found.sha256]))


def probe_in_workers(
    config: Config,
    root: Path,
    source: CorpusConfig,
    files: Sequence[RawFile],
    progress: Progress = SILENT,
    released: Mapping[str, tuple[str, ...]] | None = None,
) -> Sequence[ProbedFile]:
    """Probe files in workers; return them in the same order. `released`: codes that do not bind, by a file's sha256."""
    if not files:
        return ()
    batches = [tuple(files[start : start + PROBE_BATCH]) for start in range(0, len(files), PROBE_BATCH)]
    items = [
        WorkItem(
            name=f"probe {number}",
            payload=ProbeWork(
                root=root,
                files=batch,
                limits=source.limits,
                arrays=source.arrays,
                text=source.text,
                released=released or {},
                max_missing=source.damage.max_missing,
            ),
            timeout_s=source.limits.seconds_per_asset,
        )
        for number, batch in enumerate(batches)
    ]
    results: dict[str, tuple[ProbedFile, ...]] = {}
    with shared_engine(config) as engine:
        for outcome in engine.run(FUNCTION, items):
            results[outcome.name] = _require_probes(outcome)
            progress.advance("probe", len(results[outcome.name]))
    return [probed for item in items for probed in results[item.name]]


def _require_probes(outcome: Outcome) -> tuple[ProbedFile, ...]:
    if outcome.result is None or outcome.failure:
        raise ShardError(f"{outcome.name}: {outcome.failure and outcome.failure.detail}")
    return decode(tuple[ProbedFile, ...], outcome.result)
