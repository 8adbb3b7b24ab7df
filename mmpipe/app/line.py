"""A few numbers as a line that fits into a table: points of an SVG."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 240, 48
_AIR = 3


def points_of(numbers: Sequence[float]) -> str:
    """Return the points of a polyline, as SVG wants them; "" for fewer than two numbers."""
    if len(numbers) < 2:
        return ""
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0
    across = (WIDTH - 2 * _AIR) / (len(numbers) - 1)
    down = HEIGHT - 2 * _AIR
    return " ".join(
        f"{_AIR + across * place:.1f},{_AIR + down * (1 - (number - low) / span):.1f}"
        for place, number in enumerate(numbers)
    )
