"""Recordings that lie one after the other in one file, each with a clock of its own: their packets on one clock.

Such files come of `cat a.ts b.ts`, of recorders that go on in the same file, and of chained Ogg. At a join the time
stamps of every track fall back, by far more than pictures are reordered. A part then begins where the one before it
ends, on all tracks at once, so that sound and pictures stay in step. Where only some tracks fall back, or they do so in
different places, nobody can tell what belongs together: nothing is moved, and the share that has no place is told.

The first fall makes the whole file be looked through once more, by its packets alone: where a part begins then depends
on the file only, not on which of its tracks somebody wants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av.error

from mmpipe.config import LimitsConfig
from mmpipe.media.clock import to_ns
from mmpipe.media.guard import open_container
from mmpipe.types import NANOSECONDS_PER_SECOND

# Formats whose header or index knows where everything is: what is put behind such a file is no part of it.
EXACT_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "wav", "flac", "aiff", "w64", "caf")
# It stores times of pictures only; what FFmpeg makes up for the order of decoding is wrong after a fall.
_WITHOUT_DECODING_TIMES = ("matroska,webm",)
# MPEG counts in 33 bits: a part whose clock is behind the first one's looks as if the clock had turned over.
_TURNING_FORMATS = ("mpegts", "mpeg")
_TURN = 1 << 33
_FALL_NS = 100_000_000  # rounding, and stamps of broken muxers, go back by less


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedPacket:
    """A packet on the file's one clock."""

    packet: Any
    begins_part: bool  # it is the first of its track after a join: nothing refers to what was before
    moved: int  # ticks that were added to its times


class JoinedPackets:
    """The packets of some tracks, in the order of the file, with the empty ones that end each track."""

    def __init__(self, container: Any, streams: Sequence[Any], descriptor: int, limits: LimitsConfig) -> None:
        """Take all tracks of a container that hold video or sound, and the descriptor that it was opened by."""
        self._container = container
        self._streams = streams
        self._descriptor = descriptor
        self._limits = limits
        self._joins = _Joins()

    def __iter__(self) -> Iterator[JoinedPacket]:
        """Yield the packets. What FFmpeg raises comes through."""
        clocks = {stream.index: _Clock.of(stream, self._container.format.name) for stream in self._streams}
        parts = dict.fromkeys(clocks, 0)
        ticks: dict[tuple[int, int], int] = {}
        has_looked = self._container.format.name in EXACT_FORMATS
        for packet in self._container.demux(self._streams):
            index, begins_part, moved = packet.stream.index, False, 0
            if packet.size and not (has_looked and not self._joins.offsets_ns) and clocks[index].falls(packet):
                if not has_looked:
                    self._joins = self._look_through()
                    has_looked = True
                begins_part = bool(self._joins.offsets_ns)
                parts[index] += begins_part
            if self._joins.offsets_ns:
                part = self._joins.first_parts.get(index, 0) + parts[index]
                if (index, part) not in ticks:
                    ticks[index, part] = _ticks_of(self._joins.offsets_ns[part], packet.time_base)
                moved = ticks[index, part]
                _move(packet, moved)
            yield JoinedPacket(packet=packet, begins_part=begins_part, moved=moved)

    def displaced_share(self, track: int) -> float:
        """Return which share of a track's packets, as far as they were read, no part can be told of."""
        return self._joins.displaced.get(track, 0.0)

    def _look_through(self) -> _Joins:
        indexes = [stream.index for stream in self._streams]
        with open_container(self._descriptor, self._limits) as container:
            lines = {index: _Line.of(container.streams[index]) for index in indexes}
            try:
                for place, packet in enumerate(container.demux([container.streams[index] for index in indexes])):
                    if packet.size:
                        lines[packet.stream.index].add(packet, place)
            except av.error.FFmpegError:
                pass  # it breaks off: whoever decodes it will judge that
        return _conclude({index: line for index, line in lines.items() if line.parts})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joins:
    """Where the parts of a file are to lie."""

    offsets_ns: tuple[int, ...] = ()  # to add, by part; none where nothing is moved
    first_parts: Mapping[int, int] = field(default_factory=dict)  # the part that a track begins in, if not the first
    displaced: Mapping[int, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Clock:
    """The time stamps of a track as they go by: of showing, and of decoding where they can be trusted.

    Either may fall first: some demuxers give the first picture of a part the time of decoding of the one before.
    """

    shown: _Hand
    decoded: _Hand | None

    @classmethod
    def of(cls, stream: Any, format_name: str) -> _Clock:
        least = round(_FALL_NS / NANOSECONDS_PER_SECOND / stream.time_base)
        is_turning = format_name in _TURNING_FORMATS
        decoded = None if format_name in _WITHOUT_DECODING_TIMES else _Hand(least=least, is_turning=is_turning)
        return cls(shown=_Hand(least=least, is_turning=is_turning), decoded=decoded)

    def falls(self, packet: Any) -> bool:
        """Take the next packet and say whether a part begins with it."""
        # Pictures between key frames are reordered; a key frame is shown after all that was decoded before it.
        falls = packet.is_keyframe and self.shown.falls(packet.pts)
        falls = falls or (self.decoded is not None and self.decoded.falls(packet.dts))
        if falls:
            self.shown.begin()
            if self.decoded:
                self.decoded.begin()
        self.shown.move(packet.pts)
        if self.decoded and not falls:
            self.decoded.move(packet.dts)
        return bool(falls)


@dataclass(slots=True, kw_only=True)
class _Hand:
    """The newest of some time stamps."""

    least: int  # ticks: less is no fall
    is_turning: bool
    newest: int | None = None
    second: int | None = None  # the newest before it

    def falls(self, ticks: int | None) -> bool:
        """Say whether a stamp lies before all that came; one that leapt ahead by itself leaves the others' order."""
        if ticks is None or self.newest is None or self._back(self.newest, ticks) <= self.least:
            return False
        return self.second is None or self._back(self.second, ticks) > 0

    def begin(self) -> None:
        """Forget what came."""
        self.newest = self.second = None

    def move(self, ticks: int | None) -> None:
        """Take the next stamp, if there is one."""
        if ticks is not None and (self.newest is None or self._back(self.newest, ticks) < 0):
            self.newest, self.second = ticks, self.newest

    def _back(self, before: int, ticks: int) -> int:
        back = before - ticks
        return (back + _TURN // 2) % _TURN - _TURN // 2 if self.is_turning else back


@dataclass(slots=True, kw_only=True)
class _Part:
    """What of a track lies in one part, in its own ticks."""

    place: int  # of its first packet in the file
    first: int
    last: int
    end: int
    num_packets: int = 0

    def end_told(self) -> int:
        """Return where it ends; packets that do not say how long they last do so as the others on average."""
        step = (self.last - self.first) // (self.num_packets - 1) if self.num_packets > 1 else 0
        return self.end if self.end > self.last else self.last + step


@dataclass(slots=True, kw_only=True)
class _Line:
    """A track, as the whole file has it."""

    base: Any
    clock: _Clock
    parts: list[_Part] = field(default_factory=list)
    last_place: int = 0
    num_packets: int = 0
    num_behind: int = 0  # packets that are at or before what came before a fall
    furthest: int | None = None  # stamp before any fall so far

    @classmethod
    def of(cls, stream: Any) -> _Line:
        return cls(base=stream.time_base, clock=_Clock.of(stream, stream.container.format.name))

    def add(self, packet: Any, place: int) -> None:
        falls = self.clock.falls(packet)
        pts = packet.pts if packet.pts is not None else packet.dts
        self.last_place = place
        self.num_packets += 1
        if pts is None:
            return
        if falls and self.parts:
            self.furthest = max(part.last for part in self.parts)
        if falls or not self.parts:
            self.parts.append(_Part(place=place, first=pts, last=pts, end=pts))
        part = self.parts[-1]
        part.num_packets += 1
        part.first, part.last = min(part.first, pts), max(part.last, pts)
        part.end = max(part.end, pts + (packet.duration or 0))
        self.num_behind += self.furthest is not None and pts <= self.furthest

    def starts_ns(self) -> list[int]:
        return [to_ns(part.first, self.base) for part in self.parts]

    def ends_ns(self) -> list[int]:
        return [to_ns(part.end_told(), self.base) for part in self.parts]


def _conclude(lines: Mapping[int, _Line]) -> _Joins:
    """Lay the parts one after the other, if all tracks agree about them."""
    number = max((len(line.parts) for line in lines.values()), default=1)
    joined = [line for line in lines.values() if len(line.parts) == number]
    first_parts = {index: _part_of(line, joined, number) for index, line in lines.items()}
    places = [[line.parts[part].place for line in joined] for part in range(1, number)]
    in_turn = all(max(before) < min(after) for before, after in pairwise(places))
    if not in_turn or None in first_parts.values():
        shares = {index: line.num_behind / max(line.num_packets, 1) for index, line in lines.items()}
        return _Joins(displaced=shares)
    spans: list[list[tuple[int, int]]] = [[] for _ in range(number)]
    for index, line in lines.items():
        for part, span in enumerate(zip(line.starts_ns(), line.ends_ns(), strict=True), start=first_parts[index] or 0):
            spans[part].append(span)
    offsets_ns = [0]
    for before, after in pairwise(spans):
        offsets_ns.append(offsets_ns[-1] + max(end for _, end in before) - min(start for start, _ in after))
    return _Joins(
        offsets_ns=tuple(offsets_ns), first_parts={index: part for index, part in first_parts.items() if part}
    )


def _part_of(line: _Line, joined: Sequence[_Line], number: int) -> int | None:
    """Return the part that a track begins in; None where that cannot be told."""
    if len(line.parts) == number:
        return 0
    if len(line.parts) > 1:
        return None
    if line.last_place < max(other.parts[1].place for other in joined):
        return 0  # it ends with the first
    if line.parts[0].place > min(other.parts[-1].place for other in joined):
        return number - 1  # it begins with the last
    return None


def _ticks_of(offset_ns: int, base: Fraction) -> int:
    return round(Fraction(offset_ns, NANOSECONDS_PER_SECOND) / base)


def _move(packet: Any, ticks: int) -> None:
    """Add to the times of a packet."""
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks
