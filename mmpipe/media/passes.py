"""One run through one container: its packets go to the decoders of the tracks that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import av.error

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.decoders import AudioDecoder, Found, TrackDecoder, VideoDecoder, Wanted
from mmpipe.media.gpu_track import GpuVideoDecoder
from mmpipe.media.guard import open_container
from mmpipe.media.joins import JoinedPacket, JoinedPackets
from mmpipe.media.tracks import is_track
from mmpipe.types import Modality, Stream


class ContainerPass:
    """Decode the wanted tracks of one file, packet by packet, up to the end of the last clip."""

    def __init__(self, descriptor: int, wanted: Sequence[Wanted], limits: LimitsConfig) -> None:
        """Take what is wanted; nothing is opened before the context is entered."""
        self._descriptor = descriptor
        self._wanted = wanted
        self._limits = limits
        self._opened = open_container(descriptor, limits)
        self._tracks: dict[int, TrackDecoder] = {}
        self._packets: Iterator[JoinedPacket] = iter(())
        self.finished = False

    def __enter__(self) -> Self:
        container = self._opened.__enter__()
        try:
            self._tracks = {want.stream.track: _decoder(container, want, self._limits) for want in self._wanted}
            # All tracks, wanted or not: what is joined in a file is told by all of them.
            streams = [stream for stream in container.streams if is_track(stream)]
            self._packets = iter(JoinedPackets(container, streams, self._descriptor, self._limits))
        except BaseException:
            container.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    @property
    def reached_ns(self) -> int:
        """Return how far the slowest track has come."""
        return min((track.reached_ns for track in self._tracks.values() if track.open_clips), default=0)

    def wants(self, index: int) -> int:
        """Return how many of the tracks will bring something for a clip."""
        return sum(index in track.open_clips for track in self._tracks.values())

    def lost_ns(self) -> dict[int, int]:
        """Return what was lost of each track so far, by its number."""
        return {number: track.lost_ns for number, track in self._tracks.items()}

    def losses(self) -> Iterator[tuple[Stream, float]]:
        """Yield the tracks of which anything was lost, with the share of their duration."""
        for want in self._wanted:
            lost_ns = self._tracks[want.stream.track].lost_ns
            if lost_ns:
                yield want.stream, min(lost_ns / max(want.stream.duration_ns, 1), 1.0)

    def step(self) -> Iterator[Found]:
        """Take the next packet and yield the clips that it completes. Raise SampleError where too much is lost."""
        try:
            joined = next(self._packets, None)
        except av.error.FFmpegError:
            joined = None  # broken off: the tracks know how much they should have held
        if joined is None:
            tracks, self.finished = list(self._tracks.values()), True
            for track in tracks:
                yield from track.end()
            return
        wanted = self._tracks.get(joined.packet.stream.index)
        if wanted is not None and wanted.open_clips:
            if joined.begins_part:
                yield from wanted.begin_part(joined.packet)
            yield from wanted.push(joined.packet)
        self.finished = not any(track.open_clips for track in self._tracks.values())


def _decoder(container: Any, want: Wanted, limits: LimitsConfig) -> TrackDecoder:
    number = want.stream.track
    if number >= len(container.streams) or not is_track(container.streams[number]):
        raise SampleError("changed_while_reading", f"{want.stream.file!r} no longer has a track {number} to decode")
    if want.stream.modality is not Modality.VIDEO:
        return AudioDecoder(container.streams[number], want, limits)
    kind = GpuVideoDecoder if want.maker else VideoDecoder
    return kind(container.streams[number], want, limits)
