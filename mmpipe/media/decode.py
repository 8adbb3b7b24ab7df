"""Decode an asset once and slice it into clips: one pass per container serves all extractors, memory flat in length."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from mmpipe.config import ArraysConfig, LimitsConfig, TextConfig
from mmpipe.errors import ConfigError, SampleError
from mmpipe.media.arrays import ArrayRows, open_stream
from mmpipe.media.captions import PARSERS
from mmpipe.media.decoders import Wanted
from mmpipe.media.images import read_image
from mmpipe.media.passes import ContainerPass
from mmpipe.media.picture_maker import CannotUseGpu, PictureMaker
from mmpipe.media.probe import read_text
from mmpipe.media.sparse import CannotSkip
from mmpipe.media.tracks import MAX_MISSING
from mmpipe.types import (
    ArrayNeeds,
    AudioNeeds,
    Clip,
    ClipMedia,
    Cue,
    ImageNeeds,
    Modality,
    Needs,
    Stream,
    TextClip,
    TextNeeds,
    VideoNeeds,
)

NO_FILE = -1
_NO_ARRAYS = ArraysConfig()
_PLAIN_TEXT = TextConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSource:
    """A stream and the descriptor of its file (`guard.open_regular`); one descriptor may serve several streams."""

    descriptor: int  # NO_FILE where the stream is in no file
    stream: Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedClip:
    """A clip and what was found for each of the needs; what the asset, or this range of it, lacks is not in `media`."""

    clip: Clip
    media: Mapping[Needs, ClipMedia]


def ignore_loss(stream: Stream, share: float) -> None:
    """Do nothing about a loss that is small enough."""


def ignore_fallback(stream: Stream, reason: str) -> None:
    """Do nothing about a track that the CPU decodes where a GPU was to."""


def decode_clips(
    sources: Mapping[Modality, MediaSource],
    clips: Sequence[Clip],
    needs: Sequence[Needs],
    cues: Sequence[Cue],
    limits: LimitsConfig,
    arrays: ArraysConfig = _NO_ARRAYS,
    max_missing: float = MAX_MISSING,
    note_loss: Callable[[Stream, float], None] = ignore_loss,
    text: TextConfig = _PLAIN_TEXT,
    maker: PictureMaker | None = None,
    note_fallback: Callable[[Stream, str], None] = ignore_fallback,
) -> Iterator[DecodedClip]:
    """Yield every clip once, as it becomes complete; clips may overlap, repeat a range and come in any order.

    What a clip holds does not depend on which other clips are asked for. Pictures that nobody wants are not decoded, so
    a file is judged by what had to be. Of a track a share of `max_missing` may be
    lost; `note_loss` hears, at the end, which share of which was. Broken media end in SampleError decode_error
    after the clips that were complete before; other codes: changed_while_reading, limit_*, encoding.

    Pictures whose needs say so are made by `maker`; where it cannot, by the CPU, from the first clip on that is not
    complete, and `note_fallback` hears why. ConfigError: there is none; the CPU's pixels are others.
    """
    if maker is None and any(isinstance(need, VideoNeeds) and need.decoder == "nvdec" for need in needs):
        raise ConfigError('pictures are to be made by NVDEC, and there is nothing here to do so; decoder = "cpu" is')
    for source in sources.values():
        _require_same_file(source)
    stills = _stills(sources, needs, limits)
    texts = _Texts(sources.get(Modality.TEXT), needs, cues, limits, text)
    numbers = _open_numbers(sources, needs, limits, arrays)
    known = {index: {**stills, **texts.of(clip)} for index, clip in enumerate(clips)}
    order = _Order(
        sources=sources, clips=clips, needs=needs, limits=limits, max_missing=max_missing, maker=maker, may_skip=True
    )
    while True:
        try:
            for index, found in _run_passes(order, known, note_loss):
                del known[index]
                yield DecodedClip(clip=clips[index], media=found | _numbers_of(clips[index], numbers))
            return
        except CannotUseGpu as error:
            note_fallback(sources[Modality.VIDEO].stream, error.reason)
            order = replace(order, maker=None)
        except CannotSkip:
            if not order.may_skip:
                raise
            order = replace(order, may_skip=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is to be decoded."""

    sources: Mapping[Modality, MediaSource]
    clips: Sequence[Clip]
    needs: Sequence[Needs]
    limits: LimitsConfig
    max_missing: float
    maker: PictureMaker | None
    may_skip: bool


def _run_passes(
    order: _Order,
    known: Mapping[int, Mapping[Needs, ClipMedia]],
    note_loss: Callable[[Stream, float], None],
) -> Iterator[tuple[int, dict[Needs, ClipMedia]]]:
    """Yield the clips whose numbers are in `known`, with that and what the containers hold of them."""
    media = {index: dict(found) for index, found in known.items()}
    with ExitStack() as stack:
        passes = [stack.enter_context(one) for one in _passes(order, media)]
        open_parts = {index: sum(one.wants(index) for one in passes) for index in media}
        for index in _finished(open_parts):
            yield index, media.pop(index)
        for index, found in _advance(passes):
            media[index].update(found)
            open_parts[index] -= 1
            for done in _finished(open_parts):
                yield done, media.pop(done)
        for stream, share in (loss for one in passes for loss in one.losses()):
            note_loss(stream, share)


def _finished(open_parts: dict[int, int]) -> list[int]:
    done = [index for index, parts in open_parts.items() if parts == 0]
    for index in done:
        del open_parts[index]
    return done


def _advance(passes: Iterable[ContainerPass]) -> Iterator[tuple[int, Mapping[Needs, ClipMedia]]]:
    """Run all containers side by side, the one that is behind first, so that none holds its clips for long."""
    running = list(passes)
    while running:
        behind = min(running, key=lambda one: one.reached_ns)
        yield from behind.step()
        running = [one for one in running if not one.finished]


def _passes(order: _Order, due: Collection[int]) -> list[ContainerPass]:
    """Make one pass per file, for the tracks in it that are needed by any clip that is due.

    A video that two decoders are to make pictures of is passed twice: demuxing costs a hundredth of decoding.
    """
    wanted: dict[tuple[str, bool], list[Wanted]] = {}
    descriptors: dict[str, int] = {}
    for modality, needs, maker in _tracks(order):
        source = order.sources.get(modality)
        if source is None or not needs:
            continue
        clips = enumerate(order.clips)
        inside = tuple((index, clip) for index, clip in clips if index in due and _meets(clip, source.stream))
        if inside:
            want = Wanted(
                stream=source.stream,
                clips=inside,
                needs=needs,
                max_missing=order.max_missing,
                may_skip=order.may_skip,
                maker=maker,
            )
            wanted.setdefault((source.stream.file, maker is not None), []).append(want)
            descriptors[source.stream.file] = source.descriptor
    return [ContainerPass(descriptors[file], tracks, order.limits) for (file, _), tracks in wanted.items()]


def _tracks(
    order: _Order,
) -> Iterator[tuple[Modality, tuple[VideoNeeds, ...] | tuple[AudioNeeds, ...], PictureMaker | None]]:
    """Yield what is needed of each kind of track, and what makes its pictures; None: this process."""
    pictures = tuple(dict.fromkeys(need for need in order.needs if isinstance(need, VideoNeeds)))
    elsewhere = tuple(need for need in pictures if order.maker and need.decoder == "nvdec")
    yield Modality.VIDEO, tuple(need for need in pictures if need not in elsewhere), None
    yield Modality.VIDEO, elsewhere, order.maker
    yield Modality.AUDIO, tuple(dict.fromkeys(need for need in order.needs if isinstance(need, AudioNeeds))), None


def _meets(clip: Clip, stream: Stream) -> bool:
    return clip.start_ns < stream.start_ns + stream.duration_ns and stream.start_ns < clip.end_ns


def _require_same_file(source: MediaSource) -> None:
    if source.descriptor == NO_FILE:
        return
    nbytes = os.fstat(source.descriptor).st_size
    if nbytes != source.stream.file_nbytes:
        detail = f"{source.stream.file!r} had {source.stream.file_nbytes} bytes when it was probed, now {nbytes}"
        raise SampleError("changed_while_reading", detail)


# --------------------------------------------------------------------------- stills, numbers and text


def _stills(
    sources: Mapping[Modality, MediaSource], needs: Sequence[Needs], limits: LimitsConfig
) -> dict[Needs, ClipMedia]:
    source = sources.get(Modality.IMAGE)
    if source is None:
        return {}
    return {need: read_image(source.descriptor, need, limits) for need in needs if isinstance(need, ImageNeeds)}


def _open_numbers(
    sources: Mapping[Modality, MediaSource], needs: Sequence[Needs], limits: LimitsConfig, arrays: ArraysConfig
) -> ArrayRows | None:
    source = sources.get(Modality.ARRAY)
    if source is None or ArrayNeeds() not in needs:
        return None
    return open_stream(source.descriptor, source.stream, arrays, limits)


def _numbers_of(clip: Clip, rows: ArrayRows | None) -> dict[Needs, ClipMedia]:
    """Return the rows of a clip, cut when it is handed on: they may be many."""
    found = rows and rows.of(clip)
    return {ArrayNeeds(): found} if found else {}


class _Texts:
    """The text of every clip: the cues that overlap it in order of time, or the whole text where there are none."""

    def __init__(
        self,
        source: MediaSource | None,
        needs: Sequence[Needs],
        cues: Sequence[Cue],
        limits: LimitsConfig,
        config: TextConfig,
    ) -> None:
        self._needed = any(isinstance(need, TextNeeds) for need in needs)
        self._whole = ""
        if self._needed and source and not cues:
            parse = PARSERS[Path(source.stream.file).suffix.lower()]
            captions = parse(read_text(source.descriptor, limits), config)
            self._whole, cues = captions.text, captions.cues
        self._cues = sorted(cues, key=lambda cue: (cue.start_ns, cue.end_ns))
        self._starts = [cue.start_ns for cue in self._cues]
        self._latest_ends = list(accumulate((cue.end_ns for cue in self._cues), max))

    def of(self, clip: Clip) -> dict[Needs, ClipMedia]:
        """Return the text of a clip, or nothing."""
        text = self._overlapping(clip) if self._cues else self._whole
        return {TextNeeds(): TextClip(text=text)} if self._needed and text else {}

    def _overlapping(self, clip: Clip) -> str:
        first, stop = bisect_right(self._latest_ends, clip.start_ns), bisect_left(self._starts, clip.end_ns)
        return " ".join(cue.text for cue in self._cues[first:stop] if cue.end_ns > clip.start_ns)
