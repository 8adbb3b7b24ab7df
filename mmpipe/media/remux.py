"""Write packets that a guarded demuxer gave into a small container of our own: what leaves this process holds no more.

A decoder elsewhere brings an FFmpeg that cannot be told which formats to read. It never meets a file of the corpus:
what it opens was written here, so no playlist, no list of files and no second track can be in it. The stamps are ours
too: picture k in the order of time is shown at (number of pictures + k * 40) ms, in whole ticks of the container, so
what comes back says without rounding which picture it is. The true times stay with whoever asked.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av.error
import numpy as np

from mmpipe.media.picture_maker import STEP_MS, CannotUseGpu

_TICK = Fraction(1, 1000)  # Matroska's own


def remux(packets: Sequence[Any], template: Any) -> np.ndarray:
    """Return a Matroska file of packets in the order of decoding, as uint8 [N]; each has a `pts` of its own.

    `template` is the track that they come from. Raise CannotUseGpu where they cannot be written.
    """
    places = {pts: number for number, pts in enumerate(sorted(packet.pts for packet in packets))}
    target = io.BytesIO()
    try:
        with av.open(target, "w", format="matroska") as container:
            track = container.add_stream_from_template(template, opaque=True)  # no encoder is needed, nor is there one
            for number, packet in enumerate(packets):
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base = track, _TICK
                copy.pts = len(packets) + places[packet.pts] * STEP_MS
                copy.dts, copy.duration = number, STEP_MS  # before the first picture is shown, and rising
                copy.is_keyframe = packet.is_keyframe
                container.mux(copy)
    except (av.error.FFmpegError, ValueError) as error:
        raise CannotUseGpu("packets", f"Matroska does not take them: {error}") from error
    return np.frombuffer(target.getbuffer(), np.uint8)
