"""A released version as the server knows it: raw files by warm workers, clips from shards, answers by one call."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import Config
from mmpipe.engine.work import Event
from mmpipe.registry.versions import Version
from mmpipe.serve.predictor import Lost, Question, Said, Upload
from mmpipe.sources.listing import list_corpus
from mmpipe.sources.stems import AssetFiles
from mmpipe.steps.ask.answers import Answer
from mmpipe.steps.ask.ask_work import AskedClip
from mmpipe.steps.ask.asking import Asking, inputs_of, is_fault, open_asking
from mmpipe.steps.ask.network import NO_INPUT, ReleasedNetwork, load_network
from mmpipe.steps.ask.settings import CORPUS, asked_config
from mmpipe.steps.ground.text_origin import SIDECAR
from mmpipe.steps.serve.stored_clips import StoredClips
from mmpipe.store.layout import StoreLayout
from mmpipe.types import Drop, Modality

_UPLOAD = "upload"
_SECONDS_AT_LEAST = 0.5  # for a worker, whatever was left: less would kill warm ones for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What one upload may hold, beside the limits that the model's corpus had."""

    nbytes: int
    duration_s: float
    seconds: float  # wall time in a worker


class ReleasedPredictor:
    """One version, loaded."""

    def __init__(
        self, version: Version, asking: Asking, network: ReleasedNetwork, stored: StoredClips, stack: ExitStack
    ) -> None:
        """Take what `open_released` has opened; `stack` lets go of it."""
        self.model, self.version = version.name, version.label
        self._asking, self._network, self._stored, self._stack = asking, network, stored, stack

    def warm_up(self, beside_another: bool = False) -> None:
        """Start every worker, have it load what the features need, and let the network answer once."""
        self._asking.warm_up(Path("/nonexistent"), one_by_one=beside_another)
        self._network.warm_up()

    def read(self, upload: Upload) -> Question:
        """Return the features of an upload. Raise TimeoutError where its worker did not come to an end in time."""
        deadline_s = time.monotonic() + max(upload.timeout_s, _SECONDS_AT_LEAST)

        def hold_to_time(event: Event) -> None:
            """End the run, and its worker with it, where time is over: nobody waits for a second attempt."""
            if time.monotonic() > deadline_s or (event.kind == "died" and event.text.startswith("timeout")):
                raise TimeoutError(f"{event.text or event.kind}")

        files = list_corpus(upload.folder, recursive=False).files
        stem = AssetFiles(source_id=_UPLOAD, files=files)
        work = self._asking.work(upload.folder, upload.folder, (stem,))
        (reply,) = (
            reply
            for _, reply in self._asking.ask(
                {_UPLOAD: work}, max(deadline_s - time.monotonic(), _SECONDS_AT_LEAST), hold_to_time
            )
        )
        if is_fault(reply.failure):
            raise RuntimeError(f"a worker failed on an upload: {reply.failure}")
        clips = tuple(clip for clip in reply.clips if clip.values)
        lost = self._unread(upload)
        lost += [_lost_of(drop) for drop in reply.drops if not drop.kept]
        lost += [_without_input(clip) for clip in reply.clips if not clip.values]
        return Question(body=clips, clips=len(clips), lost=tuple(lost))

    def _unread(self, upload: Upload) -> list[Lost]:
        """Return the text of an upload where the model's own came from speech alone."""
        if SIDECAR in self._asking.source.text.sources:
            return []
        detail = "the model's text comes from speech, which is heard in the sound: a text that is sent is not read"
        texts = [file for file in upload.files if file.role == Modality.TEXT]
        return [Lost(source=file.path.name, code="text_not_read", detail=detail) for file in texts]

    def find(self, key: str, corpus: str | None) -> Question:
        """Return the stored features of a clip. Raise NotFound."""
        clip = self._stored.find(key, corpus)
        if not clip.values:
            return Question(body=(), clips=0, lost=(_without_input(clip),))
        return Question(body=(clip,), clips=1)

    def answer(self, questions: Sequence[Question]) -> Sequence[Said]:
        """Answer about the clips of all questions by one call of the network."""
        asked = [_clips_of(question) for question in questions]
        answers, _ = self._network.answer([clip for clips in asked for clip in clips])
        rest = iter(answers)
        return [Said(clips=tuple(_told(rest, len(clips)))) for clips in asked]

    def cancel(self) -> None:
        """Kill the workers of the process: what they read comes to nothing."""
        self._asking.engine.cancel()

    def close(self) -> None:
        """Let go of the workers; the last version ends them."""
        self._stack.close()


def open_released(
    config: Config, version: Version, device: str, workers: int, limits: UploadLimits, staging: Path
) -> ReleasedPredictor:
    """Load a version; ConfigError where what it reads cannot be computed here."""
    asked = _bounded(asked_config(version, config, staging, staging), device, workers, limits)
    layout = StoreLayout(config.store)
    with ExitStack() as stack:
        asking = stack.enter_context(open_asking(asked, inputs_of(version)))
        network = load_network(version, asking.schemas)
        lineage = json.loads(version.read("lineage.json"))
        corpus = str(lineage.get("corpus", ""))
        stored = StoredClips(layout, config.corpora, asking.schemas, lineage["fingerprints"], corpus)
        return ReleasedPredictor(version, asking, network, stored, stack.pop_all())
    raise AssertionError("the block returns")


def _bounded(asked: Config, device: str, workers: int, limits: UploadLimits) -> Config:
    """Return the settings with the server's bounds where they are narrower."""
    source = asked.corpora[CORPUS]
    ours = {
        "file_bytes": min(source.limits.file_bytes, limits.nbytes),
        "duration_s": min(source.limits.duration_s, limits.duration_s),
        "seconds_per_asset": min(source.limits.seconds_per_asset, limits.seconds),
    }
    source = source.model_copy(update={"limits": source.limits.model_copy(update=ours)})
    engine = asked.engine.model_copy(update={"device": device, "workers": workers})
    return asked.model_copy(update={"corpora": {CORPUS: source}, "engine": engine})


def _clips_of(question: Question) -> tuple[AskedClip, ...]:
    assert isinstance(question.body, tuple), "it was read by this class"
    return question.body


def _told(answers: Iterator[Answer], count: int) -> Iterator[dict[str, object]]:
    for _ in range(count):
        told = next(answers).as_json()
        told.pop("source")  # of an upload it is our own word
        yield told


def _lost_of(drop: Drop) -> Lost:
    source = drop.file or drop.source_id
    return Lost(source=source, code=drop.code, detail=drop.detail, key=drop.clip_key, feature=drop.feature)


def _without_input(clip: AskedClip) -> Lost:
    detail = "there is none of the model's inputs in this clip"
    return Lost(source=clip.source, code=NO_INPUT, detail=detail, key=clip.key)
