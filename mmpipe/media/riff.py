"""What the header of a wav or avi file claims, read without FFmpeg: that refuses some claims without saying which."""

from __future__ import annotations

import os
import struct

_HEAD_BYTES = 4096
_UNKNOWN_BYTES = 0x7FFF_F000


def riff_bytes(descriptor: int, nbytes: int) -> tuple[int, int]:
    """Return how long a wav or avi file says that it is, and how long it is: FFmpeg makes do with what there is."""
    head = os.pread(descriptor, 8, 0)
    said = int.from_bytes(head[4:8], "little") + 8
    # What writes to a pipe cannot know the size, and puts 0 or the largest number there.
    return (said, nbytes) if head[:4] == b"RIFF" and said < _UNKNOWN_BYTES else (0, 0)


def wave_claims(descriptor: int) -> tuple[int, int] | None:
    """Return the rate and the number of channels that a wav file claims; None where it is no wav file."""
    head = os.pread(descriptor, _HEAD_BYTES, 0)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    place = 12
    while place + 16 <= len(head):
        name, nbytes = struct.unpack_from("<4sI", head, place)
        if name == b"fmt ":
            _, channels, rate_hz = struct.unpack_from("<HHI", head, place + 8)
            return rate_hz, channels
        place += 8 + nbytes + nbytes % 2
    return None
