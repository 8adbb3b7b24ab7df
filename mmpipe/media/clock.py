"""Integer nanoseconds: the one clock that pictures, sound and text of an asset share."""

from __future__ import annotations

from fractions import Fraction

from mmpipe.types import NANOSECONDS_PER_SECOND


def to_ns(ticks: int, time_base: Fraction) -> int:
    """Return ticks of a time base as nanoseconds, rounded half up."""
    doubled = 2 * ticks * time_base.numerator * NANOSECONDS_PER_SECOND
    return (doubled + time_base.denominator) // (2 * time_base.denominator)


def samples_to_ns(samples: int, rate_hz: int) -> int:
    """Return how long so many samples last."""
    return to_ns(samples, Fraction(1, rate_hz))


def ns_to_sample(time_ns: int, rate_hz: int) -> int:
    """Return the number of the sample that lies nearest to a time."""
    return (2 * time_ns * rate_hz + NANOSECONDS_PER_SECOND) // (2 * NANOSECONDS_PER_SECOND)


def seconds(time_ns: int) -> str:
    """Return a time as text for a message."""
    return f"{time_ns / NANOSECONDS_PER_SECOND:.2f} s"
