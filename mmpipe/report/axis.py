"""Scales: where a number stands between two ends, and the round numbers that are named there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmpipe.report.range import Range

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A shared scale; places are percent of the width."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]  # (place, label)

    def place(self, value: float) -> float:
        """Return where a value stands, in percent."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


def axis_of(ranges: Sequence[Range], *extra: float, most_ticks: int = 5) -> Axis:
    """Return a scale that holds all intervals, with a little air and round ticks."""
    values = [end for each in ranges for end in (each.low, each.value, each.high)] + list(extra)
    low, high = min(values), max(values)
    pad = max((high - low) * 0.06, 0.01)
    low, high = low - pad, high + pad
    step = next((step for step in _STEPS if (high - low) / step <= most_ticks), None)
    if step is None:  # an R2 or a word accuracy may lie as far below 0 as it likes
        return number_axis(low, high, most_ticks)
    axis = Axis(low=low, high=high, ticks=())
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    ticks = tuple((axis.place(n * step), f"{n * step:.2f}") for n in numbers)
    return Axis(low=low, high=high, ticks=ticks)


def number_axis(low: float, high: float, most_ticks: int = 5) -> Axis:
    """Return a scale between two numbers of any size, with round ticks."""
    if not high > low:
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05
    rough = (high - low) / most_ticks
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough * 0.999)
    axis = Axis(low=low, high=high, ticks=())
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return Axis(low=low, high=high, ticks=tuple((axis.place(n * step), f"{n * step:.6g}") for n in numbers))
