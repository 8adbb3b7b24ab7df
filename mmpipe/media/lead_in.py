"""Pass over the pictures before the first clip without decoding them, but for the run from the last key frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from mmpipe.media.clock import to_ns

_HELD_PACKETS = 1000
_HELD_BYTES = 64 << 20


class LeadIn:
    """Hold the packets since the last key frame until the first clip begins; times are on the container's raw clock.

    A shard may hold only the last minutes of an hour: to demux up to them costs a hundredth of decoding, and unlike a
    seek it is exact. Where the run gets too long to hold, decoding begins there and then.
    """

    def __init__(self, first_ns: int, time_base: Fraction) -> None:
        """Take where the first clip begins."""
        self.key_ns: int | None = None  # of the key frame that decoding began with
        self._first_ns = first_ns
        self._time_base = time_base
        self._held: list[Any] = []
        self._held_bytes = 0
        self._over = False

    def admit(self, packet: Any) -> list[Any]:
        """Return the packets to decode now: none, all that were held, or just this one."""
        if self._over:
            return [packet]
        if packet.pts is None or packet.dts is None:
            return [*self.release(), packet]
        time_ns = to_ns(packet.pts, self._time_base)
        if packet.is_keyframe and (time_ns <= self._first_ns or self.key_ns is None):
            self._held, self._held_bytes, self.key_ns = [], 0, time_ns
        self._held.append(packet)
        self._held_bytes += packet.size
        begun = to_ns(packet.dts, self._time_base) > self._first_ns  # pictures are decoded before they are shown
        full = len(self._held) >= _HELD_PACKETS or self._held_bytes >= _HELD_BYTES
        return self.release() if begun or full else []

    def release(self) -> list[Any]:
        """Return what is held, and hold nothing from now on."""
        held, self._held, self._over = self._held, [], True
        return held
