"""Decode every asset once as it is taken in: what is broken falls out, what is whole is cut and measured.

What was surveyed before by the same settings is read from the store. A file that cannot be used leaves its asset, which
then is another one and is surveyed in its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType

import polars as pl

from mmpipe.config import ClipRule, Config, CorpusConfig, Validation
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.errors import ConfigError, ShardError
from mmpipe.media.facts import stream_facts
from mmpipe.media.lifted import LIFTED
from mmpipe.segment.clips import Marks, cut
from mmpipe.signals.silero import require_silero
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.ingest.acceptance import Acceptance, without_files
from mmpipe.steps.ingest.survey_work import AssetPrints, AssetSurvey, AssetToSurvey, SurveyWork
from mmpipe.steps.plan.clip_filters import ClipFilter, parse_filters
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.admitted import Admitted, read_admitted
from mmpipe.store.layout import SIGNALS, SURVEYS, StoreLayout
from mmpipe.store.signals import CLIP_SIGNALS, read_signals, write_signals
from mmpipe.store.surveys import SurveyRecord, read_surveys, write_surveys
from mmpipe.types import Asset, Drop, Stream, digest_of

FUNCTION = "mmpipe.steps.ingest.survey_worker:survey_assets"
SURVEY_BATCH = 8
SURVEY_VERSION = "survey-3"  # another one surveys everything anew
_BY_CONTENT = (ClipRule.SHOTS, ClipRule.SPEECH)
LookThrough = Callable[[Sequence[AssetToSurvey]], Iterable[AssetSurvey]]
_NOTHING: Mapping[str, float] = MappingProxyType({})
# What another run may find otherwise; all else is kept with the asset.
_PASSING = frozenset({"changed_since_ingest", "changed_while_reading", "unreadable", "outside_root", "not_regular"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """A corpus's assets after the survey; of a corpus that asks for none there are only the assets as they were."""

    accepted: tuple[Acceptance, ...]
    is_asked: bool = False
    records: Mapping[str, SurveyRecord] = field(default_factory=dict)  # by asset id
    signals: pl.DataFrame = field(default_factory=CLIP_SIGNALS.frame)  # of every clip of these assets
    filters: tuple[ClipFilter, ...] = ()
    prints: Mapping[str, AssetPrints] = field(default_factory=dict)  # by asset id, of what was surveyed in this run
    num_surveyed: int = 0

    def marks(self, asset_id: str) -> Marks:
        """Return where an asset may be cut."""
        record = self.records.get(asset_id)
        return Marks(cuts_ns=record.cuts_ns, speech_ns=record.speech_ns) if record else Marks()

    def signals_of(self, asset_ids: Collection[str]) -> pl.DataFrame:
        """Return the signals of the clips of some assets."""
        return self.signals.filter(pl.col("asset_id").is_in(sorted(asset_ids)))


def asks_for_survey(source: CorpusConfig) -> bool:
    """Say whether a corpus's settings need its media decoded at ingest."""
    return bool(
        source.signals.enabled
        or source.filters
        or source.validate_by is Validation.DECODE
        or source.dedup.near
        or source.clips.rule in _BY_CONTENT
        or source.clips.then in _BY_CONTENT
    )


def require_survey(corpus: str, source: CorpusConfig) -> None:
    """Refuse settings that no survey can follow, before any file is opened. Raise ConfigError."""
    parse_filters(corpus, source.filters)
    if source.clips.speech_detector == "silero":
        require_silero()


def survey_corpus(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    source: CorpusConfig,
    accepted: Sequence[Acceptance],
    progress: Progress = SILENT,
    printed: Collection[str] | None = None,
    anew: bool = False,
) -> Surveyed:
    """Survey what is not known; `printed` names the assets whose prints are kept, where near twins are looked for.

    With `anew` nothing is taken as known.
    """
    if not asks_for_survey(source):
        return Surveyed(accepted=tuple(_noted(entry) for entry in accepted))
    filters = parse_filters(corpus, source.filters)
    known = _Known.read(layout, corpus, source, printed if source.dedup.near else None)
    if anew:
        known.records.clear()
    surveyed = _survey(known, accepted, lambda due: _in_workers(config, source, due, progress))
    return replace(surveyed, filters=filters)


def survey_unknown(source: CorpusConfig, accepted: Sequence[Acceptance], look: LookThrough) -> Surveyed:
    """Survey assets that no store knows, by the caller's own means; where the settings ask for none, none is made."""
    if not asks_for_survey(source):
        return Surveyed(accepted=tuple(_noted(entry) for entry in accepted))
    known = _Known(
        source=source,
        settings=survey_settings(source),
        records={},
        signals=CLIP_SIGNALS.frame(),
        printed=None,
        keys=set(),
    )
    return _survey(known, accepted, look)


def _survey(known: _Known, accepted: Sequence[Acceptance], look: LookThrough) -> Surveyed:
    """Survey what is not known, until nothing is left that a refused file made another asset of."""
    entries, prints, surveyed = list(accepted), {}, 0
    rows: list[tuple[object, ...]] = []
    while True:
        entries = [known.settle(entry) for entry in entries]
        due = known.unknown(entries)
        if not due:
            break
        surveyed += len(due)
        for survey in look(due):
            known.learn(survey)
            rows += _rows(survey, known.settings_of(survey.asset_id))
            if survey.prints:
                prints[survey.asset_id] = survey.prints
    return Surveyed(
        accepted=tuple(_noted(entry, known.lost_of(entry)) for entry in entries),
        is_asked=True,
        records=known.records,
        signals=known.signals_with(rows),
        prints=prints,
        num_surveyed=surveyed,
    )


def write_surveyed(layout: StoreLayout, corpus: str, partition: str, surveyed: Surveyed, ids: Collection[str]) -> None:
    """Commit what is known of a partition's assets: signals first, so that no record speaks of clips without any."""
    if not surveyed.is_asked:
        return
    signals = surveyed.signals_of(ids)
    if not signals.is_empty():
        write_signals(layout.dataset(corpus, SIGNALS), partition, signals)
    records = [surveyed.records[key] for key in sorted(ids) if key in surveyed.records]
    kept = [record for record in records if not _passes(record)]
    if kept:
        write_surveys(layout.dataset(corpus, SURVEYS), partition, kept)


def survey_settings(source: CorpusConfig) -> str:
    """Return the digest of all that a survey's outcome depends on but the asset; filters choose among its clips."""
    clips, limits = source.clips.model_dump_json(), source.limits.model_dump_json()
    return digest_of(SURVEY_VERSION, clips, limits, repr(allowed_loss(source)), str(source.dedup.near))


def allowed_loss(source: CorpusConfig) -> float | None:
    """Return which share of a track may be broken; None: nothing at all."""
    return source.damage.max_missing if source.damage.keep else None


def _passes(record: SurveyRecord) -> bool:
    return any(code in _PASSING for code, _ in record.faults.values())


@dataclass(slots=True, kw_only=True)
class _Known:
    """What is known of assets: from the store, and from this run."""

    source: CorpusConfig
    settings: str
    records: dict[str, SurveyRecord]
    signals: pl.DataFrame
    printed: Collection[str] | None
    keys: set[tuple[str, str]]  # of clips whose signals are known, with the settings that those were measured by
    admitted: Admitted = field(default_factory=Admitted)
    lifted: dict[str, str] = field(default_factory=dict)  # settings of assets of which something was let in
    learned: set[str] = field(default_factory=set)  # assets of this run: none is surveyed twice

    @classmethod
    def read(cls, layout: StoreLayout, corpus: str, source: CorpusConfig, printed: Collection[str] | None) -> _Known:
        signals = read_signals(layout, corpus).select(CLIP_SIGNALS.names)
        return cls(
            source=source,
            settings=survey_settings(source),
            records=read_surveys(layout, corpus),
            signals=signals,
            printed=printed,
            keys=set(signals.select("key", "settings").iter_rows()),
            admitted=read_admitted(layout, corpus),
        )

    def settings_of(self, asset_id: str) -> str:
        """Return what an asset is surveyed by: what a person lifted for it is a part of that until taken back."""
        return self.lifted.get(asset_id, self.settings)

    def record_of(self, asset: Asset) -> SurveyRecord | None:
        """Return what is known of an asset by the settings that hold for it now."""
        if lifts := self._lifts(asset):
            self.lifted[asset.asset_id] = digest_of(self.settings, *lifts)
        record = self.records.get(asset.asset_id)
        return record if record and record.settings == self.settings_of(asset.asset_id) else None

    def lost_of(self, entry: Acceptance) -> Mapping[str, float]:
        """Return by role what a decoder lost of an asset; 0 where all could be decoded, but not strictly."""
        record = self.record_of(entry.asset) if entry.asset else None
        return record.lost if record else {}

    def signals_with(self, rows: Iterable[tuple[object, ...]]) -> pl.DataFrame:
        """Return the signals that are known, and those of this run, each by the settings of its asset."""
        signals = pl.concat([self.signals, CLIP_SIGNALS.frame(rows)]).unique("key", keep="last", maintain_order=True)
        in_force = (pl.col("settings") == self.settings) & ~pl.col("asset_id").is_in(sorted(self.lifted))
        for asset_id, settings in sorted(self.lifted.items()):
            in_force |= (pl.col("settings") == settings) & (pl.col("asset_id") == asset_id)
        return signals.filter(in_force)

    def unknown(self, entries: Iterable[Acceptance]) -> list[AssetToSurvey]:
        """Return the assets to survey, each once."""
        due: dict[str, AssetToSurvey] = {}
        for entry in entries:
            if entry.asset and entry.asset.asset_id not in self.learned and not self._knows(entry.asset):
                found = AssetToSurvey(asset=entry.asset, released=self._lifts(entry.asset))
                due.setdefault(entry.asset.asset_id, found)
        return [due[key] for key in sorted(due)]

    def _lifts(self, asset: Asset) -> tuple[str, ...]:
        """Return what is lifted of what a survey holds an asset to."""
        codes = self.admitted.codes(stream.file_sha256 for stream in asset.streams)
        return tuple(code for code in codes if code in LIFTED)

    def _knows(self, asset: Asset) -> bool:
        record = self.record_of(asset)
        if record is None:
            return False
        if record.faults:  # the same tracks may come in another file
            return any(stream.file_sha256 in record.faults for stream in asset.streams)
        clips, _ = cut(asset, self.source.clips, Marks(cuts_ns=record.cuts_ns, speech_ns=record.speech_ns))
        has_prints = self.printed is None or asset.asset_id in self.printed
        return has_prints and all((clip.key, record.settings) in self.keys for clip in clips)

    def learn(self, survey: AssetSurvey) -> None:
        """Take in what a worker found out."""
        self.records[survey.asset_id] = SurveyRecord(
            asset_id=survey.asset_id,
            settings=self.settings_of(survey.asset_id),
            cuts_ns=survey.cuts_ns,
            speech_ns=survey.speech_ns,
            lost={lost.role: lost.share for lost in survey.lost},
            faults={fault.file_sha256: (fault.code, fault.detail) for fault in survey.faults},
        )
        self.learned.add(survey.asset_id)

    def settle(self, entry: Acceptance) -> Acceptance:
        """Return an asset without the files that cannot be used, and with a mark on those that are damaged."""
        while entry.asset and (record := self.record_of(entry.asset)):
            faults = list(_faults(entry, entry.asset, record))
            if not faults:
                return _marked(entry, entry.asset, record)
            entry = without_files(entry, faults)
        return entry


def _rows(survey: AssetSurvey, settings: str) -> Iterator[tuple[object, ...]]:
    """Yield the signals of an asset's clips, as the store has them."""
    for clip in survey.clips:
        place = {"key": clip.key, "asset_id": survey.asset_id, "start_ns": clip.start_ns, "end_ns": clip.end_ns}
        values = place | {"settings": settings} | asdict(clip.signals)
        yield tuple(values[name] for name in CLIP_SIGNALS.names)


def _faults(entry: Acceptance, asset: Asset, record: SurveyRecord) -> Iterable[Drop]:
    for file in sorted({stream.file for stream in asset.streams if stream.file_sha256 in record.faults}):
        sha256 = next(stream.file_sha256 for stream in asset.streams if stream.file == file)
        code, detail = record.faults[sha256]
        yield Drop(
            stage="decode",
            code=code,
            detail=detail,
            file=file,
            file_sha256=sha256,
            source_id=entry.source_id,
            facts=stream_facts(next(stream for stream in asset.streams if stream.file == file)),
        )


def _marked(entry: Acceptance, asset: Asset, record: SurveyRecord) -> Acceptance:
    """Return an entry whose damaged streams say how much is lost of them; what was cut off is known already."""
    streams = tuple(
        replace(stream, lost_share=max(stream.lost_share, record.lost.get(stream.role, 0.0)))
        for stream in asset.streams
    )
    return entry if streams == asset.streams else replace(entry, asset=replace(asset, streams=streams))


def _noted(entry: Acceptance, lost: Mapping[str, float] = _NOTHING) -> Acceptance:
    """Return an entry with a note for a person on every damaged stream."""
    notes = [
        Drop(
            stage="decode",
            code="damaged",
            detail=f"{_told_loss(stream)}; it is kept, and marked",
            file=stream.file,
            file_sha256=stream.file_sha256,
            source_id=entry.source_id,
            asset_id=entry.asset.asset_id,
            facts=stream_facts(stream),
            kept=True,
        )
        for stream in (entry.asset.streams if entry.asset else ())
        if (stream.lost_share or stream.role in lost) and entry.asset
    ]
    return replace(entry, drops=(*entry.drops, *notes)) if notes else entry


def _told_loss(stream: Stream) -> str:
    if not stream.lost_share:
        return f"a strict decoder refuses a part of the file, though no time of its {stream.role} is lost"
    return f"{stream.lost_share:.2%} of the {stream.role} cannot be decoded"


def _in_workers(
    config: Config, source: CorpusConfig, due: Sequence[AssetToSurvey], progress: Progress
) -> list[AssetSurvey]:
    """Survey assets in workers; return what they found in the same order."""
    progress.start("survey", len(due))
    batches = [tuple(due[start : start + SURVEY_BATCH]) for start in range(0, len(due), SURVEY_BATCH)]
    items = [
        WorkItem(
            name=f"survey {number}",
            payload=SurveyWork(
                root=source.root,
                assets=batch,
                limits=source.limits,
                clips=source.clips,
                max_missing=allowed_loss(source),
                prints=source.dedup.near,
                text=source.text,
            ),
            timeout_s=source.limits.seconds_per_asset,
        )
        for number, batch in enumerate(batches)
    ]
    results: dict[str, tuple[AssetSurvey, ...]] = {}
    with shared_engine(config) as engine:
        for outcome in engine.run(FUNCTION, items):
            results[outcome.name] = _require_surveys(outcome)
            progress.advance("survey", len(results[outcome.name]))
    return [survey for item in items for survey in results[item.name]]


def _require_surveys(outcome: Outcome) -> tuple[AssetSurvey, ...]:
    failure = outcome.failure
    if failure and failure.code == ConfigError.__name__:
        raise ConfigError(failure.detail)
    if outcome.result is None or failure:
        raise ShardError(f"{outcome.name}: {failure and failure.detail}")
    return decode(tuple[AssetSurvey, ...], outcome.result)
