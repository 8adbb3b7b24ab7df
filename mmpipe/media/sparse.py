"""Decode only the pictures that are wanted and those that they refer to: the rest of the packets is passed over.

Which pictures are wanted follows from the time stamps of the packets alone, so the packets of a run (a key frame and
what follows it, up to the next) are held until that is known. Of a run only what comes before its last wanted picture
is decoded, and of that only what other pictures refer to; a run without a wanted picture costs its demuxing. Unlike a
seek this needs no index, and the pictures are the very same ones that decoding everything would have given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmpipe.media.video import FramePicker
from mmpipe.types import NANOSECONDS_PER_SECOND, Clip, VideoNeeds

# The pictures that these call unreferenced are referred to by none: they can be left out one by one.
DROPPABLE_CODECS = frozenset({"h264", "mpeg1video", "mpeg2video"})
_HELD_PACKETS = 1000
_HELD_BYTES = 64 << 20
_WORTHWHILE_SHARE = 0.7  # where more of the pictures are wanted, looking ahead costs what it saves
_NO_PIXELS = np.zeros((1, 1), np.uint8)

TimeOf = Callable[[Any], int | None]


class CannotSkip(Exception):
    """Something is broken or comes at another time than its packet says: only decoding everything can judge it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Packets to decode now, each with whether its picture is wanted."""

    packets: tuple[tuple[Any, bool], ...]
    wanted_ns: frozenset[int]
    anew: bool  # it does not refer to what was decoded before
    newest_ns: int  # of its pictures, decoded or not


def is_sparse(clips: Sequence[tuple[int, Clip]], needs: Sequence[VideoNeeds], frame_rate: float) -> bool:
    """Say whether few enough pictures of a track are wanted that looking ahead pays."""
    rates = [_rate(need, clips) for need in needs]
    if not frame_rate or None in rates:
        return False
    return sum(rate for rate in rates if rate) <= _WORTHWHILE_SHARE * frame_rate


def _rate(need: VideoNeeds, clips: Sequence[tuple[int, Clip]]) -> float | None:
    """Return about how many pictures per second are wanted, None for all of them."""
    if need.frame_rate is not None or need.only_keyframes:
        return need.frame_rate or 0.0
    if need.num_frames is None:
        return None
    shortest_ns = min(clip.end_ns - clip.start_ns for _, clip in clips)
    return need.num_frames * NANOSECONDS_PER_SECOND / max(shortest_ns, 1)


class PacketSchedule:
    """Hold the packets of two runs, and hand on what of them has to be decoded. What cannot be foreseen: CannotSkip."""

    def __init__(self, clips: Sequence[tuple[int, Clip]], needs: Sequence[VideoNeeds], time_of: TimeOf) -> None:
        """Take what is wanted, and how a packet tells the time of its picture on the asset's clock."""
        self._time_of = time_of
        self._log = _Log()
        self._picker = FramePicker(clips, needs, self._log)
        self._all_keys = any(need.only_keyframes for need in needs)
        self._held: list[_HeldRun] = []  # the run before the last one, and the last, which still grows
        self._held_packets = self._held_bytes = 0
        self._newest_ns: int | None = None
        self._begins_part = False
        self._is_whole = False  # whether the run that was handed on last is decoded to its end

    def admit(self, packet: Any) -> Iterator[Run]:
        """Take the next packet and yield the run that is due, if any."""
        if self._begins_part and (not packet.is_keyframe or packet.is_discard):
            raise CannotSkip("a part begins in the middle of a run")
        if packet.is_keyframe and not packet.is_discard:
            yield from self._close_run()
            self._held.append(_HeldRun(begins_part=self._begins_part))
            self._begins_part = False
        if not self._held:
            raise CannotSkip("the track begins in the middle of a run")
        self._held[-1].add(packet, None if packet.is_discard else self._time_of(packet))
        count, nbytes = (
            sum(part) for part in zip(*((len(run.packets), run.nbytes) for run in self._held), strict=True)
        )
        if count > _HELD_PACKETS or nbytes > _HELD_BYTES:
            raise CannotSkip("too much to hold")

    def begin_part(self) -> None:
        """Take that the next packet is the first of another recording: it refers to none before it."""
        self._begins_part = True

    def release(self) -> Iterator[Run]:
        """Take the end of the track and yield what is left."""
        yield from self._close_run()
        self._picker.end()
        while self._held:
            yield self._hand_on()

    def _close_run(self) -> Iterator[Run]:
        """Let the last run say what is wanted, of itself and of the one before; that one is due then."""
        if not self._held:
            return
        run = self._held[-1]
        key_ns = run.times_ns[0]
        if key_ns is None:
            raise CannotSkip("a key frame without a time")
        if self._newest_ns is None or run.begins_part:
            run.drop_leading(key_ns)  # what they refer to is not there
        for time_ns in sorted(run.known_ns()):
            if self._newest_ns is not None and time_ns <= self._newest_ns:
                raise CannotSkip("times that run back or stand still")
            self._picker.push(_Undecoded(time_ns=time_ns, key_frame=time_ns == key_ns), time_ns)
            self._newest_ns = time_ns
        if self._all_keys:
            self._log.wanted_ns.add(key_ns)
        if len(self._held) > 1:
            yield self._hand_on()

    def _hand_on(self) -> Run:
        run = self._held.pop(0)
        self._held_packets -= run.num_packets
        self._held_bytes -= run.nbytes
        wanted_ns = frozenset(self._log.wanted_ns.intersection(run.known_ns()))
        anew = run.begins_part or not self._is_whole
        if anew:
            run.drop_leading(run.times_ns[0])
        packets = [(packet, time_ns in wanted_ns) for packet, time_ns in zip(run.packets, run.times_ns, strict=True)]
        if self._held and self._held[0].has_leading(self._log.wanted_ns):
            last = len(packets)  # the next run refers to this one
        else:
            last = max((place for place, (_, wanted) in enumerate(packets, start=1) if wanted), default=0)
        self._is_whole = last == len(packets)
        return Run(packets=tuple(packets[:last]), wanted_ns=wanted_ns, anew=anew, newest_ns=max(run.known_ns()))


@dataclass(slots=True, kw_only=True)
class _HeldRun:
    """A key frame and the packets up to the next one, in the order of decoding; None: a picture that is not shown."""

    packets: list[Any] = field(default_factory=list)
    times_ns: list[int | None] = field(default_factory=list)
    begins_part: bool = False
    num_packets: int = 0  # also of those that were dropped since
    nbytes: int = 0

    def add(self, packet: Any, time_ns: int | None) -> None:
        if time_ns is None and not packet.is_discard:
            raise CannotSkip("a packet without a time")
        self.packets.append(packet)
        self.times_ns.append(time_ns)
        self.num_packets += 1
        self.nbytes += packet.size

    def known_ns(self) -> list[int]:
        return [time_ns for time_ns in self.times_ns if time_ns is not None]

    def has_leading(self, wanted_ns: set[int]) -> bool:
        """Say whether a picture is wanted that comes before the key frame: it refers to the run before."""
        key_ns = self.times_ns[0]
        return any(time_ns in wanted_ns for time_ns in self.known_ns() if key_ns is not None and time_ns < key_ns)

    def drop_leading(self, key_ns: int | None) -> None:
        kept = [place for place, time_ns in enumerate(self.times_ns) if time_ns is None or time_ns >= (key_ns or 0)]
        if len(kept) < len(self.packets):
            self.packets, self.times_ns = [self.packets[at] for at in kept], [self.times_ns[at] for at in kept]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Undecoded:
    """What is known of a picture before it is decoded."""

    time_ns: int
    key_frame: bool


class _Log:
    """Stands in for the scaler: notes which pictures would be scaled, because some clip keeps them."""

    def __init__(self) -> None:
        self.wanted_ns: set[int] = set()

    def scale(self, frame: Any, needs: VideoNeeds) -> np.ndarray:
        self.wanted_ns.add(frame.time_ns)
        return _NO_PIXELS
