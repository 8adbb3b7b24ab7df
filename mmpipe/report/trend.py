"""One number over dates, with the range that it had in each."""

from __future__ import annotations

from collections.abc import Sequence

from mmpipe.report.axis import Axis, number_axis
from mmpipe.report.range import Range
from mmpipe.report.svg import HEIGHT, WIDTH, Field, coloured, lined, safe, svg

MOST_DATES = 90
_NAMED_DATES = 5


def trend_svg(dates: Sequence[str], values: Sequence[Range], *, title: str, up: str, name: str) -> str:
    """Return a line through the values, newest at the right; only the last `MOST_DATES` of them."""
    dates, values = dates[-MOST_DATES:], values[-MOST_DATES:]
    last = max(len(dates) - 1, 1)
    step = max(last // (_NAMED_DATES - 1), 1)
    ticks = tuple((100 * n / last, dates[n]) for n in range(0, len(dates), step))
    # What is named stands inside the field: a date is wider than its tick.
    air = 0.08 * last
    across = Axis(low=-air, high=last + air, ticks=())
    named = Axis(low=-air, high=last + air, ticks=tuple((across.place(at * last / 100), text) for at, text in ticks))
    field = Field(named, number_axis(min(v.low for v in values), max(v.high for v in values)))
    places = [(field.x(n), value) for n, value in enumerate(values)]
    line = "L".join(f"{x:.1f} {field.y(value.value):.1f}" for x, value in places)
    parts = [field.frame("", up), f'<path d="M{line}" {lined(0)} stroke-width="2" fill="none"/>']
    for (x, value), date in zip(places, dates, strict=True):
        said = f"{date}: {value.value:.4g} (from {value.low:.4g} to {value.high:.4g})"
        parts.append(
            f'<g><title>{safe(said)}</title><path d="M{x:.1f} {field.y(value.low):.1f}V{field.y(value.high):.1f}" '
            f'{lined(0)} stroke-opacity="0.4"/><circle cx="{x:.1f}" cy="{field.y(value.value):.1f}" r="4" '
            f"{coloured(0)}/></g>"
        )
    told = f"{len(dates)} dates, from {values[0].value:.4g} to {values[-1].value:.4g}."
    return svg(name, title, told, WIDTH, HEIGHT - 14, parts)
