"""What a limit refuses, in words: what it is, the limit's name, and the way out."""

from __future__ import annotations

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError

_WAY_OUT = "change that, or let the file in: mmpipe quarantine release"


def too_many_pixels(size: str, limits: LimitsConfig) -> SampleError:
    """Return the refusal of a picture."""
    return SampleError("limit_pixels", f"pictures of {size} pixels, limits.pixels allows {limits.pixels}: {_WAY_OUT}")


def too_long(limits: LimitsConfig, what: str = "") -> SampleError:
    """Return the refusal of what lasts longer than it may."""
    allowed = f"limits.duration_s allows {limits.duration_s:g} s: {_WAY_OUT}"
    return SampleError("limit_duration", f"{what or 'it lasts longer than it may'}, {allowed}")


def too_many_pictures(limits: LimitsConfig) -> SampleError:
    """Return the refusal of a film of very many pictures."""
    return SampleError("limit_frames", f"more pictures than limits.frames allows, {limits.frames}: {_WAY_OUT}")


def require_sound_limits(rate_hz: int, channels: int, limits: LimitsConfig) -> None:
    """Refuse sound at a rate or with channels beyond the limits."""
    if not limits.min_sample_rate_hz <= rate_hz <= limits.sample_rate_hz:
        names = "limits.min_sample_rate_hz and limits.sample_rate_hz allow"
        allowed = f"{limits.min_sample_rate_hz} to {limits.sample_rate_hz} Hz"
        raise SampleError("limit_rate", f"sound at {rate_hz} Hz, {names} {allowed}: {_WAY_OUT}")
    if channels > limits.channels:
        allowed = f"limits.channels allows {limits.channels}: {_WAY_OUT}"
        raise SampleError("limit_channels", f"{channels} channels of sound, {allowed}")
    if channels < 1:
        raise SampleError("not_media", "sound without a channel that a decoder could open")
