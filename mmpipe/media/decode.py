"""Decode an asset once and slice it into clips: one pass per container serves all extractors, memory flat in length."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.captions import PARSERS
from mmpipe.media.decoders import Wanted
from mmpipe.media.images import read_image
from mmpipe.media.passes import ContainerPass
from mmpipe.media.probe import read_text
from mmpipe.types import (
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSource:
    """A stream and the descriptor of its file (`guard.open_regular`); one descriptor may serve several streams."""

    descriptor: int
    stream: Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedClip:
    """A clip and what was found for each of the needs; what the asset, or this range of it, lacks is not in `media`."""

    clip: Clip
    media: Mapping[Needs, ClipMedia]


def decode_clips(
    sources: Mapping[Modality, MediaSource],
    clips: Sequence[Clip],
    needs: Sequence[Needs],
    cues: Sequence[Cue],
    limits: LimitsConfig,
) -> Iterator[DecodedClip]:
    """Yield every clip once, as it becomes complete; clips may overlap, repeat a range and come in any order.

    What a clip holds does not depend on which other clips are asked for. Broken media end in SampleError decode_error
    after the clips that were complete before; other codes: changed_while_reading, limit_*, encoding.
    """
    for source in sources.values():
        _require_same_file(source)
    stills = _stills(sources, needs, limits)
    texts = _Texts(sources.get(Modality.TEXT), needs, cues, limits)
    media: dict[int, dict[Needs, ClipMedia]] = {}
    for index, clip in enumerate(clips):
        media[index] = {**stills, **texts.of(clip)}
    with ExitStack() as stack:
        passes = [stack.enter_context(one) for one in _passes(sources, clips, needs, limits)]
        open_parts = {index: sum(one.wants(index) for one in passes) for index in media}
        yield from (DecodedClip(clip=clips[index], media=media.pop(index)) for index in _finished(open_parts))
        for index, found in _advance(passes):
            media[index].update(found)
            open_parts[index] -= 1
            yield from (DecodedClip(clip=clips[done], media=media.pop(done)) for done in _finished(open_parts))


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


def _passes(
    sources: Mapping[Modality, MediaSource], clips: Sequence[Clip], needs: Sequence[Needs], limits: LimitsConfig
) -> list[ContainerPass]:
    """Make one pass per file, for the tracks in it that are needed by any clip."""
    wanted: dict[str, list[Wanted]] = {}
    descriptors: dict[str, int] = {}
    for modality, kind in ((Modality.VIDEO, VideoNeeds), (Modality.AUDIO, AudioNeeds)):
        source = sources.get(modality)
        due = tuple(dict.fromkeys(need for need in needs if isinstance(need, kind)))
        if source is None or not due:
            continue
        inside = tuple((index, clip) for index, clip in enumerate(clips) if _meets(clip, source.stream))
        if inside:
            wanted.setdefault(source.stream.file, []).append(Wanted(stream=source.stream, clips=inside, needs=due))
            descriptors[source.stream.file] = source.descriptor
    return [ContainerPass(descriptors[file], tracks, limits) for file, tracks in wanted.items()]


def _meets(clip: Clip, stream: Stream) -> bool:
    return clip.start_ns < stream.start_ns + stream.duration_ns and stream.start_ns < clip.end_ns


def _require_same_file(source: MediaSource) -> None:
    nbytes = os.fstat(source.descriptor).st_size
    if nbytes != source.stream.file_nbytes:
        detail = f"{source.stream.file!r} had {source.stream.file_nbytes} bytes when it was probed, now {nbytes}"
        raise SampleError("changed_while_reading", detail)


# --------------------------------------------------------------------------- stills and text


def _stills(
    sources: Mapping[Modality, MediaSource], needs: Sequence[Needs], limits: LimitsConfig
) -> dict[Needs, ClipMedia]:
    source = sources.get(Modality.IMAGE)
    if source is None:
        return {}
    return {need: read_image(source.descriptor, need, limits) for need in needs if isinstance(need, ImageNeeds)}


class _Texts:
    """The text of every clip: the cues that overlap it in order of time, or the whole text where there are none."""

    def __init__(
        self, source: MediaSource | None, needs: Sequence[Needs], cues: Sequence[Cue], limits: LimitsConfig
    ) -> None:
        self._needed = any(isinstance(need, TextNeeds) for need in needs)
        self._whole = ""
        if self._needed and source and not cues:
            captions = PARSERS[Path(source.stream.file).suffix.lower()](read_text(source.descriptor, limits))
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
