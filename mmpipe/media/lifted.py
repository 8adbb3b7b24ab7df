"""What is lifted for a file that a person let in: the limits it was refused for, and how much may be broken of it.

Time and memory are never lifted.
"""

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
# Not among those above: `file_bytes` also holds what a filter may write, which stays bound.
LIMIT_FILE = "limit_file"
DAMAGED = "decode_error"  # too much is broken, or cut off
LIFTED = frozenset({*LIFTS, LIMIT_FILE, DAMAGED})  # all codes that can be lifted for a file


def lift_limits(limits: LimitsConfig, codes: Collection[str]) -> LimitsConfig:
    """Return limits without those behind these codes of the quarantine."""
    lifted = {name: value for code in sorted(codes) for name, value in LIFTS.get(code, {}).items()}
    return limits.model_copy(update=lifted) if lifted else limits


def lift_missing(max_missing: float, codes: Collection[str]) -> float:
    """Return the share of a track that may be lost: all but something where damage was let in."""
    return 1.0 if DAMAGED in codes else max_missing
