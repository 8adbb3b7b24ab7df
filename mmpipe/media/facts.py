"""What is known of a file that fell out, as far as reading it came: JSON for the quarantine."""

from __future__ import annotations

import json
import os
from itertools import islice
from typing import Any

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.gifs import read_gif_blocks
from mmpipe.media.sniff import HEAD_BYTES, Content, sniff
from mmpipe.types import Modality, Stream

_SHOWN_TRACKS = 8
_SHOWN_HEAD = 12
_MOST_TOLD_PIXELS = 1 << 29  # beyond, even to look at the header of a GIF would fill memory


def seen_facts(descriptor: int, suffix: str, limits: LimitsConfig) -> str:
    """Look at the header of a file once more, decoding nothing: container, tracks, codecs, sizes, length, rates."""
    head = os.pread(descriptor, HEAD_BYTES, 0)
    facts: dict[str, Any] = {"bytes": os.fstat(descriptor).st_size, "begins": head[:_SHOWN_HEAD].hex()}
    try:
        content = sniff(head, suffix)
        if content is Content.IMAGE:
            facts |= _picture_facts(descriptor, limits)
        elif content is Content.TRACKS:
            facts |= _container_facts(descriptor, limits)
        else:
            facts["text"] = suffix.removeprefix(".")
    except (SampleError, OSError, ValueError, OverflowError):
        pass  # what is known stays: this file is refused already, and its facts must not cost more
    return told(facts)


def stream_facts(stream: Stream | None) -> str:
    """Return what the probe saw of a stream that fell out later."""
    if stream is None:
        return ""
    facts = {
        "bytes": stream.file_nbytes,
        "track": stream.track,
        "kind": str(stream.modality),
        "codec": stream.codec,
        "duration_s": round(stream.duration_ns / 1e9, 3),
        "width_px": stream.width_px,
        "height_px": stream.height_px,
        "frame_rate": stream.frame_rate,
        "rate_hz": stream.sample_rate_hz,
        "channels": stream.channels,
    }
    return told({name: value for name, value in facts.items() if value})


def told(facts: dict[str, Any]) -> str:
    """Return facts as the quarantine holds them."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _picture_facts(descriptor: int, limits: LimitsConfig) -> dict[str, Any]:
    from mmpipe.media.images import look_at_image

    unlimited = limits.model_copy(update={"pixels": _MOST_TOLD_PIXELS})  # its size is told, nothing is decoded
    still = look_at_image(descriptor, unlimited)
    facts: dict[str, Any] = {"codec": still.codec, "width_px": still.width_px, "height_px": still.height_px}
    blocks = read_gif_blocks(descriptor)
    if blocks and blocks.is_moving:
        facts |= {"kind": str(Modality.VIDEO), "pictures": blocks.num_pictures}
    return facts


def _container_facts(descriptor: int, limits: LimitsConfig) -> dict[str, Any]:
    from mmpipe.media.guard import open_container

    with open_container(descriptor, limits) as container:
        facts: dict[str, Any] = {
            "container": container.format.name,
            "tracks": [_track_facts(stream) for stream in islice(container.streams, _SHOWN_TRACKS)],
            "num_tracks": len(container.streams),
        }
        if container.duration and container.duration > 0:
            facts["duration_s"] = round(container.duration / 1e6, 3)
    return facts


def _track_facts(stream: Any) -> dict[str, Any]:
    context = stream.codec_context
    facts: dict[str, Any] = {"kind": stream.type, "codec": context.name if context else "unknown"}
    if context and stream.type == "video":
        facts |= {"width_px": context.width, "height_px": context.height}
        facts["frame_rate"] = round(float(stream.average_rate or 0), 3)
        if (aspect := stream.sample_aspect_ratio) and aspect != 1:
            facts["sample_aspect"] = f"{aspect.numerator}:{aspect.denominator}"
    if context and stream.type == "audio":
        facts |= {"rate_hz": context.sample_rate, "channels": context.channels}
    return facts
