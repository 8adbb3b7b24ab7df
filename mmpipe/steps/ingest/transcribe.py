"""Give recordings without a text the words that a speech model hears; what was heard once is never heard again.

The words lie in the assets, under a digest of sound, weights and settings. That there are none is a note in the
quarantine, which names the same digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from mmpipe.config import Config, CorpusConfig, LimitsConfig
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.errors import ConfigError, ShardError
from mmpipe.signals.stop_words import STOP_WORDS
from mmpipe.steps.ground.progress import Progress
from mmpipe.steps.ground.text_origin import ASR, cleaned_digest
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.ingest.transcribe_worker import NO_WORDS, Recording, SpeechWork, Transcript
from mmpipe.steps.plan.speech_model import SpeechModel
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.types import Drop, Modality, Stream, digest_of

FUNCTION = "mmpipe.steps.ingest.transcribe_worker:transcribe_recordings"
STAGE = "transcribe"
_NOTE = ("facts", "code", "detail")
RECORDINGS = 8  # in one unit of work


def transcribe(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    source: CorpusConfig,
    model: SpeechModel,
    sounds: Iterable[Stream],
    progress: Progress,
) -> Mapping[str, Transcript]:
    """Return the transcripts of sounds by their digests (`SpeechModel.transcript_digest`)."""
    wanted = {model.transcript_digest(sound): sound for sound in sounds}
    found = _known(layout, corpus, wanted, source.limits)
    due = [Recording(digest=digest, stream=wanted[digest]) for digest in sorted(wanted) if digest not in found]
    if due:
        progress.start(STAGE, len(due))
        works = [
            SpeechWork(
                root=source.root, limits=source.limits, model=model, recordings=tuple(due[start : start + RECORDINGS])
            )
            for start in range(0, len(due), RECORDINGS)
        ]
        found |= {told.digest: told for told in _hear(config, works, progress)}
    return found


def transcript_note(source: CorpusConfig, source_id: str, asset_id: str, told: Transcript) -> Drop:
    """Return the note that a recording has no words, which keeps it from being heard again."""
    return Drop(
        stage=STAGE,
        code=told.code,
        detail=told.detail,
        source_id=source_id,
        asset_id=asset_id,
        facts=json.dumps({"transcript": _noted(told.digest, told.code, source.limits)}),
        kept=True,
    )


def _noted(digest: str, code: str, limits: LimitsConfig) -> str:
    """Return what a note names: a sound that is too much for a worker is tried again under other limits."""
    return digest if code == NO_WORDS else digest_of(digest, limits.model_dump_json())


def _known(
    layout: StoreLayout, corpus: str, wanted: Mapping[str, Stream], limits: LimitsConfig
) -> dict[str, Transcript]:
    """Return what the store knows, whatever was left out of the words since."""
    if not wanted:
        return {}
    names = {cleaned_digest(digest, language): digest for digest in wanted for language in ("", *STOP_WORDS)}
    heard = pl.col("origin").str.starts_with(f"{ASR}:") & pl.col("digest").is_in(list(names))
    found = {}
    for asset in assets_of(read_assets(layout, corpus).filter(heard)):
        stream = asset.stream(Modality.TEXT)
        if stream:
            found[names[stream.digest]] = Transcript(digest=names[stream.digest], cues=asset.cues)
    notes = read_quarantine(layout, corpus).filter(pl.col("stage") == STAGE)
    said = {json.loads(facts)["transcript"]: (code, why) for facts, code, why in notes.select(_NOTE).iter_rows()}
    for digest in wanted if said else ():
        if note := said.get(digest) or said.get(_noted(digest, "", limits)):
            found[digest] = Transcript(digest=digest, code=note[0], detail=note[1])
    return found


def _hear(config: Config, works: Sequence[SpeechWork], progress: Progress) -> Iterator[Transcript]:
    items = [
        WorkItem(name=f"{STAGE} {number}", payload=work, timeout_s=work.limits.seconds_per_asset)
        for number, work in enumerate(works)
    ]
    with shared_engine(config) as engine:
        for outcome in engine.run(FUNCTION, items):
            told = _require_transcripts(outcome)
            progress.advance(STAGE, len(told))
            yield from told


def _require_transcripts(outcome: Outcome) -> tuple[Transcript, ...]:
    if outcome.failure and outcome.failure.code == ConfigError.__name__:
        raise ConfigError(outcome.failure.detail)
    if outcome.result is None or outcome.failure:
        raise ShardError(f"{outcome.name}: {outcome.failure and outcome.failure.detail}")
    return decode(tuple[Transcript, ...], outcome.result)
