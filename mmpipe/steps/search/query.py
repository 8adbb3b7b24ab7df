"""What is asked: a text, a file, or a clip of the store, embedded by the release as it embedded its training."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import ClipsConfig, Config
from mmpipe.errors import ConfigError
from mmpipe.steps.ask.answers import Unanswered
from mmpipe.steps.ask.ask_work import AskedClip
from mmpipe.steps.ask.asking import open_asking
from mmpipe.steps.ask.listed import find_recordings
from mmpipe.steps.ask.network import HeldClips
from mmpipe.steps.ask.settings import CORPUS, asked_config
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.text_origin import SIDECAR
from mmpipe.steps.search.library import fitting_partitions, pinned_heads, require_fit
from mmpipe.steps.search.space import Space, View
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.types import Modality

_TEXT_NAME = "query.txt"
_MOST_TOLD = 3  # reasons why a file cannot be asked with


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What somebody looks for: of these one is set."""

    text: str | None = None
    audio: Path | None = None  # a file that is asked with by its sound, and so on
    video: Path | None = None
    image: Path | None = None
    array: Path | None = None
    clip: str | None = None  # a key

    def __post_init__(self) -> None:
        """Refuse two questions at once, and none."""
        asked = (self.text, self.audio, self.video, self.image, self.array, self.clip)
        if sum(part is not None for part in asked) != 1:
            raise ConfigError("a search asks one thing: text, audio, video, image, array or clip")
        if self.text is not None and not self.text.strip():
            raise ConfigError("the text to search for is empty")

    @property
    def file(self) -> Path | None:
        """Return the file that is asked with."""
        return self.audio or self.video or self.image or self.array

    @property
    def modality(self) -> Modality | None:
        """Return the modality of what is asked; None of a clip, which has several."""
        if self.text is not None:
            return Modality.TEXT
        files = (Modality.AUDIO, self.audio), (Modality.VIDEO, self.video), (Modality.IMAGE, self.image)
        return next((modality for modality, file in (*files, (Modality.ARRAY, self.array)) if file), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPart:
    """A part of what is asked, which asks by itself."""

    source: str
    key: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What is asked in the shared space; row n of the vectors is part n."""

    parts: tuple[AskedPart, ...]
    vectors_QD: np.ndarray
    view: View
    left_out: tuple[Unanswered, ...] = ()  # parts that could not be used


def embed_query(
    config: Config, space: Space, query: Query, target: View, corpus: str, progress: Progress = SILENT
) -> Asked:
    """Embed what is asked; raise ConfigError where the release cannot, or nothing of it can be used."""
    if query.clip is not None:
        return _embed_clip(config, space, query.clip, corpus, target)
    assert query.modality is not None, "what is no clip has a modality"
    view = space.view(query.modality.value, against=target)
    with tempfile.TemporaryDirectory(prefix="mmpipe-search-") as folder:
        if query.text is not None:
            root = Path(folder) / "asked"
            root.mkdir()
            (root / _TEXT_NAME).write_text(query.text, "utf-8")
            return _embed_file(config, space, root / _TEXT_NAME, view, Path(folder) / "store", progress)
        assert query.file is not None
        file = _real_file(query.file)
        return _embed_file(config, space, file, view, Path(folder) / "store", progress)


def _real_file(file: Path) -> Path:
    if not file.is_file():
        raise ConfigError(f"{file} is a folder; name a file in it" if file.is_dir() else f"no such file: {file}")
    return file.resolve()  # a link is asked as what it points to


def _embed_file(config: Config, space: Space, file: Path, view: View, staging: Path, progress: Progress) -> Asked:
    """Embed every clip of a file, by the warm workers and the settings that predictions are made with."""
    asked = asked_config(space.version, config, staging, file.parent)
    if file.name == _TEXT_NAME:
        asked = _whole(asked)
    left_out: list[Unanswered] = []
    known: list[AskedClip] = []
    with open_asking(asked, view.features) as asking:
        found = find_recordings([file], asking.source)
        works = {str(number): asking.work(part.root, staging, part.stems) for number, part in enumerate(found)}
        progress.start("ask", len(works))
        left_out += [row for part in found for row in part.unusable]
        for _, reply in asking.ask(works):
            known += [clip for clip in reply.clips if clip.values]
            left_out += [Unanswered.of(drop) for drop in reply.drops if not drop.kept]
            progress.advance("ask")
        schemas = asking.schemas
    if not known:
        told = "; ".join(f"{one.code}: {one.detail}" for one in left_out[:_MOST_TOLD])
        raise ConfigError(
            f"{file.name} gives nothing to search with: {told or f'it has no {_words(space, view)}'}. {space.name} "
            f"reads {view.name} of it"
        )
    parts = tuple(
        AskedPart(source=clip.source, key=clip.key, start_s=clip.start_ns / 1e9, end_s=clip.end_ns / 1e9)
        for clip in known
    )
    vectors_QD = space.embed(HeldClips(known, schemas), np.arange(len(known)), view)
    return Asked(parts=parts, vectors_QD=vectors_QD, view=view, left_out=tuple(left_out))


def _words(space: Space, view: View) -> str:
    return " or ".join(sorted({space.modalities[feature].value for feature in view.features}))


def _whole(asked: Config) -> Config:
    """Return settings for words that somebody typed: nothing cuts them, and nothing but they says what was said.

    Rules by sounds, shots or cues are about recordings; so is a model that learnt from speech and hears no sound here.
    """
    known = asked.corpora[CORPUS]
    text = known.text.model_copy(update={"sources": (SIDECAR,), "asr": None})
    source = known.model_copy(update={"clips": ClipsConfig(), "text": text})
    return asked.model_copy(update={"corpora": {CORPUS: source}})


def _embed_clip(config: Config, space: Space, key: str, corpus: str, target: View) -> Asked:
    """Embed a clip of the store from its stored features, by the side that looks for what is wanted."""
    layout = StoreLayout(config.store)
    spine = read_spine(layout, corpus).filter((pl.col("key") == key) & ~pl.col("superseded"))
    if not spine.height:
        raise ConfigError(f"{corpus!r} has no clip {key!r}. See what it has: mmpipe show {key} --corpus {corpus}")
    dates = sorted(spine["partition"].unique().to_list())
    for view in (space.side(1 - target.column), space.side(target.column)):
        features = _features_on(layout, corpus, view, dates)
        if not features:
            continue
        for feature in features:
            require_fit(layout, space, corpus, feature)
        snapshot = take_snapshot(layout, corpus, features, dates)
        fitting_partitions(space, corpus, pinned_heads(layout, snapshot, features), dates)
        reader = AlignedReader(layout, snapshot, features, spine)
        if any(reader.lengths(name)[0] > 0 for name in features):
            row = spine.row(0, named=True)
            start_s, end_s = row["start_ns"] / 1e9, row["end_ns"] / 1e9
            part = AskedPart(source=row["source_id"], key=key, start_s=start_s, end_s=end_s)
            return Asked(parts=(part,), vectors_QD=space.embed(reader, np.arange(1), view), view=view)
    raise ConfigError(f"the clip {key} has none of what {space.name} embeds: {', '.join(sorted(space.modalities))}")


def _features_on(layout: StoreLayout, corpus: str, view: View, dates: Sequence[str]) -> tuple[str, ...]:
    """Return the features of a view that were extracted on one of these dates."""
    return tuple(name for name in view.features if set(dates).intersection(layout.dataset(corpus, name).partitions()))
