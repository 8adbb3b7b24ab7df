"""Put raw media before warm workers: each gives back the features that a released version reads."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import Config, CorpusConfig
from mmpipe.engine.engine import Engine, OnEvent, ignore_event
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.errors import ConfigError, TransientError
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.features.naming import rendition_of
from mmpipe.registry.versions import Version
from mmpipe.sources.stems import AssetFiles
from mmpipe.steps.ask.ask_work import AskReply, AskWork, unpack_reply
from mmpipe.steps.ask.settings import CORPUS
from mmpipe.steps.ground.text_origin import ASR, require_stop_words
from mmpipe.steps.ingest.survey import require_survey
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.feature_table import decided_table
from mmpipe.steps.plan.shard_work import FeatureWork
from mmpipe.steps.plan.speech_model import SpeechModel, find_speech_model
from mmpipe.steps.workers.compute import resolve_device
from mmpipe.steps.workers.picture_pool import picture_specs
from mmpipe.steps.workers.workers import devices_beside, num_workers, pictures_beside, shared_engine
from mmpipe.types import Drop, FeatureSchema

_LOG = logging.getLogger(__name__)
ASK = "mmpipe.steps.ask.ask_worker:ask_media"
WARM_UP = "mmpipe.steps.ask.ask_worker:warm_up"
_WARM_UPS_PER_WORKER = 4  # tries, where a worker that is warm may take the item again


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The workers of a process, told what one version reads; may be shared by threads."""

    engine: Engine
    workers: int
    source: CorpusConfig
    features: tuple[FeatureWork, ...]
    schemas: Mapping[str, FeatureSchema]
    speech: SpeechModel | None
    device: str
    encoders: str
    pictures: str

    def warm_up(self, staging: Path, one_by_one: bool = False) -> None:
        """Start every worker and have it load what the features need.

        `one_by_one` leaves the other workers to those who ask meanwhile. Who takes an item cannot be chosen: it is
        tried a bounded number of times, and a worker that was busy all the while is warmed by its first question.
        """
        work = self.work(staging, staging, ())
        if not one_by_one:
            self._warm([work] * self.workers)
            return
        warm: set[bytes] = set()
        for _ in range(_WARM_UPS_PER_WORKER * self.workers):
            if len(warm) == self.workers:
                break
            warm |= self._warm([work])

    def _warm(self, works: Sequence[AskWork]) -> set[bytes]:
        """Return which workers loaded what the features need."""
        items = [WorkItem(name=f"warm-up {n}", payload=work, timeout_s=600.0) for n, work in enumerate(works)]
        return {_require_result(outcome) for outcome in self.engine.run(WARM_UP, items)}

    def ask(
        self,
        works: Mapping[str, AskWork],
        timeout_s: float | None = None,
        on_event: OnEvent = ignore_event,
    ) -> Iterator[tuple[str, AskReply]]:
        """Yield what came of each work, under its name, as they come; what ended its worker is a drop."""
        longest_s = timeout_s or self.source.limits.seconds_per_asset
        items = [WorkItem(name=name, payload=work, timeout_s=longest_s) for name, work in works.items()]
        for outcome in self.engine.run(ASK, items, on_event):
            yield outcome.name, _reply_of(outcome, works[outcome.name])

    def work(self, root: Path, staging: Path, stems: Sequence[AssetFiles]) -> AskWork:
        """Return what a worker is told about recordings below a folder."""
        return AskWork(
            root=root,
            staging=staging,
            source=self.source,
            stems=tuple(stems),
            features=self.features,
            speech=self.speech,
            device=self.device,
            encoders=self.encoders,
            pictures=self.pictures,
        )


@contextmanager
def open_asking(config: Config, wanted: Collection[str]) -> Iterator[Asking]:
    """Enter the workers for features, as NAME@VERSION; `config` has the corpus that is asked about."""
    _, source = config.corpus(CORPUS)
    require_survey(CORPUS, source)
    require_stop_words(source.text.stop_words)
    extractors = [one for one in resolve_features(config, CORPUS) if feature_name(one) in wanted]
    device = resolve_device(config.engine, extractors)
    specs = picture_specs(config.engine, extractors)
    hears = ASR in source.text.sources and source.text.asr
    with shared_engine(config) as engine, devices_beside(device) as devices, pictures_beside(specs) as pictures:
        yield Asking(
            engine=engine,
            workers=num_workers(config),
            source=source,
            features=tuple(_told(config, extractor) for extractor in extractors),
            schemas={feature_name(extractor): extractor.schema for extractor in extractors},
            speech=find_speech_model(source.text.asr) if hears and source.text.asr else None,
            device=device,
            encoders=devices.address,
            pictures=pictures.address,
        )


def inputs_of(version: Version) -> frozenset[str]:
    """Return the features that a version reads."""
    return frozenset(entry["feature"] for entry in json.loads(version.read("config.json"))["spec"]["inputs"])


def _told(config: Config, extractor: Extractor) -> FeatureWork:
    rendition = rendition_of(extractor)
    return FeatureWork(
        name=extractor.name,
        table_json=json.dumps(decided_table(config, extractor), sort_keys=True),
        feature=feature_name(extractor),
        fingerprint=fingerprint(extractor),
        inputs="",
        rendition_json=rendition.model_dump_json() if rendition else "",
    )


def _reply_of(outcome: Outcome, work: AskWork) -> AskReply:
    failure = outcome.failure
    if failure is None:
        return unpack_reply(_require_result(outcome))
    if failure.code in _RAISED:
        raise _RAISED[failure.code](failure.detail)
    if is_fault(failure.code):
        _LOG.error("a worker failed on %s: %s", ", ".join(stem.source_id for stem in work.stems), failure.detail)
    detail = _short(failure.detail)
    drops = (Drop(stage="extract", code=failure.code, detail=detail, source_id=stem.source_id) for stem in work.stems)
    return AskReply(drops=tuple(drops), failure=failure.code)


def is_fault(code: str) -> bool:
    """Say whether a call failed by what is ours, and not by the media that it was about."""
    return bool(code) and code not in _OF_THE_MEDIA


def _short(detail: str) -> str:
    """Return the last line: of a traceback the others are code and paths, which the log has."""
    return (detail.strip().splitlines() or [""])[-1][:_MOST_TOLD]


_MOST_TOLD = 300  # characters of a reason
_OF_THE_MEDIA = frozenset({"SampleError", "worker_killed", "timeout", "memory"})


_RAISED: Mapping[str, Callable[[str], Exception]] = {"ConfigError": ConfigError, "TransientError": TransientError}


def _require_result(outcome: Outcome) -> bytes:
    if outcome.failure:
        raise _RAISED.get(outcome.failure.code, RuntimeError)(outcome.failure.detail)
    assert outcome.result is not None, f"{outcome.name} came to nothing"
    return outcome.result
