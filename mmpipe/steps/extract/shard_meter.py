"""Measure what the making of a shard takes: where the time of its worker goes, and how much went through."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mmpipe.steps.plan.shard_work import WorkMeter
from mmpipe.types import ArrayClip, AudioClip, Clip, ClipMedia, ImageClip, VideoClip

if TYPE_CHECKING:
    from mmpipe.media.decode import DecodedClip  # it loads the decoders

_Item = TypeVar("_Item")


@dataclass(slots=True, kw_only=True)
class ShardMeter:
    """Counts while a shard grows; the blocks of its stop-watches do not nest."""

    started_s: float = field(default_factory=time.monotonic)
    decode_s: float = 0.0
    encode_s: float = 0.0
    write_s: float = 0.0
    clips: set[str] = field(default_factory=set)  # keys: the files of a clip are decoded one after the other
    clip_ns: int = 0
    media_ns: int = 0
    file_bytes: int = 0
    media_bytes: int = 0
    frames: int = 0
    samples: int = 0
    used_units: int = 0
    padded_units: int = 0
    gpu_tracks: int = 0
    cpu_tracks: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Time the opening, filtering or decoding of a file."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.decode_s += time.monotonic() - began_s

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Time a call of an extractor."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.encode_s += time.monotonic() - began_s

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Time the writing of values."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.write_s += time.monotonic() - began_s

    def decoded(self, items: Iterator[_Item]) -> Iterator[_Item]:
        """Yield what a decoder yields, timing its part of the loop alone."""
        while True:
            with self.decoding():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def count(self, clip: DecodedClip, is_due: bool = True) -> None:
        """Count the media of a clip, each form of it once however many extractors read it.

        A clip of which every value was there is decoded again only to come to the others: it makes no rate.
        """
        if is_due:
            self.count_made(clip.clip)
            forms = {type(media) for media in clip.media.values()}
            self.media_ns += len(forms) * (clip.clip.end_ns - clip.clip.start_ns)
        for media in clip.media.values():
            self.media_bytes += media_bytes(media)
            if isinstance(media, VideoClip):
                self.frames += len(media.frames)
            elif isinstance(media, ImageClip):
                self.frames += 1
            elif isinstance(media, AudioClip):
                self.samples += len(media.wave_N)

    def count_made(self, clip: Clip) -> None:
        """Count a clip of which this run makes a value, once."""
        if clip.key not in self.clips:
            self.clips.add(clip.key)
            self.clip_ns += clip.end_ns - clip.start_ns

    def count_units(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Count what an encoder was given between two readings."""
        self.used_units += after[0] - before[0]
        self.padded_units += after[1] - before[1]

    def count_track(self, reasons: Sequence[str]) -> None:
        """Count a track whose pictures NVDEC was to make, with the reason why the CPU made them, if it did."""
        self.cpu_tracks.update(reasons)
        self.gpu_tracks += not reasons

    def result(self, reused: int = 0) -> WorkMeter:
        """Return what it came to, now; `reused` values were there before."""
        return WorkMeter(
            started_s=self.started_s,
            ended_s=time.monotonic(),
            worker=f"{socket.gethostname()}:{os.getpid()}",
            decode_s=self.decode_s,
            encode_s=self.encode_s,
            write_s=self.write_s,
            clips=len(self.clips),
            clip_ns=self.clip_ns,
            media_ns=self.media_ns,
            file_bytes=self.file_bytes,
            media_bytes=self.media_bytes,
            frames=self.frames,
            samples=self.samples,
            used_units=self.used_units,
            padded_units=self.padded_units,
            reused=reused,
            gpu_tracks=self.gpu_tracks,
            cpu_tracks=tuple(sorted(self.cpu_tracks.items())),
        )


def media_bytes(media: ClipMedia) -> int:
    """Return how much memory a clip's media take."""
    if isinstance(media, VideoClip):
        return media.frames.nbytes + media.times_ns.nbytes
    if isinstance(media, AudioClip):
        return media.wave_N.nbytes
    if isinstance(media, ImageClip):
        return media.image.nbytes
    if isinstance(media, ArrayClip):
        return media.values_TD.nbytes + media.times_ns.nbytes
    return len(media.text.encode("utf-8", "surrogatepass"))
