"""Limits as they are for a file that a person let in: those it was refused for are lifted, time and memory never."""

from __future__ import annotations

from collections.abc import Collection

from mmpipe.config import LimitsConfig

_MOST = 2**31 - 1  # what FFmpeg's own options can hold
LIFTS: dict[str, dict[str, int | float]] = {
    "limit_pixels": {"pixels": _MOST},
    "limit_duration": {"duration_s": 1e9},
    "limit_frames": {"frames": _MOST},
    "limit_channels": {"channels": _MOST},
    "limit_rate": {"sample_rate_hz": _MOST, "min_sample_rate_hz": 1},
    "limit_streams": {"streams": _MOST - 1},
    "limit_text": {"text_bytes": _MOST},
    "limit_array": {"array_values": _MOST},
}


def lift_limits(limits: LimitsConfig, codes: Collection[str]) -> LimitsConfig:
    """Return limits without those behind these codes of the quarantine."""
    lifted = {name: value for code in sorted(codes) for name, value in LIFTS.get(code, {}).items()}
    return limits.model_copy(update=lifted) if lifted else limits
