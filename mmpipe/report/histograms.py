"""How a number is spread over clips: bins, which ends are cut, and the picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmpipe.report.axis import Axis, number_axis
from mmpipe.report.svg import coloured, label, lined, stroke, svg

BINS = 24
_CUT = 0.005  # share of values beyond the axis at each end
_FAR = 6.0  # quartile ranges beyond the quartiles is a wild value
_WIDTH, _HEIGHT, _BASE, _ROOF, _SIDE = 300, 128, 104, 8, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramShown:
    """One number over all clips; `newest` are the shares of one date among them, empty where there is one date."""

    name: str
    meaning: str
    low: float
    high: float
    shares: tuple[float, ...]  # per bin, of all clips that have it
    newest: tuple[float, ...] = ()
    median: float
    num: int
    num_without: int  # clips that it does not apply to


def histogram_of(
    name: str, meaning: str, values_N: np.ndarray, newest_N: np.ndarray | None = None
) -> HistogramShown | None:
    """Count values into bins; NaN is "does not apply". None where no clip has one."""
    known_N = values_N[np.isfinite(values_N)]
    if not len(known_N):
        return None
    low, high = _ends(known_N)
    if high <= low:
        low, high = low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    newest = () if newest_N is None else _shares(newest_N[np.isfinite(newest_N)], low, high)
    return HistogramShown(
        name=name,
        meaning=meaning,
        low=low,
        high=high,
        shares=_shares(known_N, low, high),
        newest=newest,
        median=float(np.median(known_N)),
        num=len(known_N),
        num_without=len(values_N) - len(known_N),
    )


def histogram_svg(shown: HistogramShown, name: str) -> str:
    """Return bars of all clips, and a line of the newest date's."""
    axis = number_axis(shown.low, shown.high, most_ticks=4)
    top = max((*shown.shares, *shown.newest, 1e-9))
    width = (_WIDTH - 2 * _SIDE) / len(shown.shares)
    parts = [f'<path d="M{_SIDE} {_BASE}H{_WIDTH - _SIDE}" {stroke("rule")}/>']
    for number, share in enumerate(shown.shares):
        if share:
            y = _up(share, top)
            parts.append(
                f'<rect x="{_SIDE + number * width + 0.5:.1f}" y="{y:.1f}" width="{width - 1:.1f}" '
                f'height="{_BASE - y:.1f}" {coloured(0)} fill-opacity="0.6"/>'
            )
    if shown.newest:
        parts.append(f'<path d="{_steps(shown.newest, top, width)}" {lined(1)} stroke-width="2" fill="none"/>')
    parts += [_tick(axis, place, text) for place, text in axis.ticks]
    told = f"{shown.num} clips, median {shown.median:.4g}, most between {shown.low:.4g} and {shown.high:.4g}."
    return svg(name, shown.name, told, _WIDTH, _HEIGHT, parts)


def _ends(known_N: np.ndarray) -> tuple[float, float]:
    """Return between which values bins are drawn: not as far as a wild one, which would flatten all others."""
    low, first, third, high = np.quantile(known_N, (_CUT, 0.25, 0.75, 1 - _CUT), method="nearest").tolist()
    reach = _FAR * (third - first) if third > first else max(high - low, 0.0)
    inner_N = known_N[(known_N >= first - reach) & (known_N <= third + reach)]
    return max(low, float(inner_N.min())), min(high, float(inner_N.max()))


def _shares(values_N: np.ndarray, low: float, high: float) -> tuple[float, ...]:
    counts, _ = np.histogram(np.clip(values_N, low, high), bins=BINS, range=(low, high))
    return tuple((counts / max(len(values_N), 1)).tolist())


def _up(share: float, top: float) -> float:
    return _BASE - (_BASE - _ROOF) * share / top


def _steps(shares: Sequence[float], top: float, width: float) -> str:
    line = "".join(f"V{_up(share, top):.1f}H{_SIDE + (n + 1) * width:.1f}" for n, share in enumerate(shares))
    return f"M{_SIDE} {_BASE}{line}V{_BASE}"


def _tick(axis: Axis, place: float, text: str) -> str:
    anchor = "start" if place < 8 else "end" if place > 92 else "middle"
    return label(_SIDE + (_WIDTH - 2 * _SIDE) * place / 100, _BASE + 16, text, "soft", anchor)
