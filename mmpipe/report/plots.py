"""Charts as whole SVG files, which the page shows as they are.

A reader who does not see them hears title and description; lines differ in their marks and not by colour alone. The
colours are those of Okabe and Ito (2008), told apart by people of every colour vision, on white.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mmpipe.report.charts import Axis, axis_of, heat_map
from mmpipe.report.examined import BinShown, ContributionShown, CurveShown
from mmpipe.report.text import visible
from mmpipe.report.values import ClassResults, Range

INK, SOFT, RULE = "#1d2126", "#5d6670", "#dcdedb"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a07800", "#56b4e9", "#000000")
MARKS = ("circle", "square", "diamond", "triangle")
WIDTH, HEIGHT = 560, 340
LEFT, TOP, RIGHT, BOTTOM = 56, 20, 16, 46  # around the field
ROW_PX, NAME_PX = 34, 190
LONGEST_NAME = 26


def reliability_svg(bins: Sequence[BinShown], name: str = "reliability") -> str:
    """Return a reliability diagram: how often the model is right at each confidence; the line is honesty."""
    field = _Field(Axis(low=0, high=1, ticks=_TENTHS), Axis(low=0, high=1, ticks=_TENTHS))
    total = max(sum(row.num_clips for row in bins), 1)
    parts = [field.frame("confidence", "share that is right")]
    for row in bins:
        if not row.num_clips:
            continue
        x, right, y = field.x(row.low), field.x(row.high), field.y(row.accuracy)
        said = f"confidence {row.confidence:.2f}, right {row.accuracy:.2f}, {row.num_clips} clips"
        strength = 0.25 + 0.75 * (row.num_clips / total) ** 0.5
        parts.append(
            f'<g><title>{_text(said)}</title><rect x="{x + 1:.1f}" y="{y:.1f}" width="{right - x - 2:.1f}" '
            f'height="{field.y(0) - y:.1f}" fill="{COLOURS[0]}" fill-opacity="{strength:.2f}"/>'
            f"{_mark(0, field.x(row.confidence), y, COLOURS[1])}</g>"
        )
    x0, y0, x1, y1 = field.x(0), field.y(0), field.x(1), field.y(1)
    parts.append(f'<path d="M{x0} {y0}L{x1} {y1}" stroke="{SOFT}" stroke-dasharray="4 4" fill="none"/>')
    worst = max(
        (row for row in bins if row.num_clips), key=lambda row: abs(row.confidence - row.accuracy), default=None
    )
    told = f"Bars: share of right answers per bin of confidence, over {total} clips; the dashed line is honest."
    if worst:
        told += f" Largest gap: confidence {worst.confidence:.2f}, right {worst.accuracy:.2f}."
    return _svg(name, "Reliability: is its confidence to be believed", told, WIDTH, HEIGHT, parts)


def curves_svg(curves: Sequence[CurveShown], *, title: str, across: str, name: str, measure: str) -> str:
    """Return the measure against rates or levels, a line each, with bars for the intervals."""
    ranges = [point.value for curve in curves for point in curve.points]
    ends = [point.at for curve in curves for point in curve.points]
    most = max(ends, default=1.0) or 1.0
    ticks = tuple((0.0, f"{at:g}") for at in sorted(set(ends)))
    field = _Field(
        Axis(low=0, high=most, ticks=ticks), axis_of(ranges or [Range(value=0, low=0, high=1)]), sorted(set(ends))
    )
    parts, told = [field.frame(across, measure)], []
    step = 6 / max(len(curves), 1)
    for number, curve in enumerate(curves):
        colour, aside = COLOURS[number % len(COLOURS)], step * (number - (len(curves) - 1) / 2)
        places = [(field.x(point.at) + aside, field.y(point.value.value)) for point in curve.points]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dash = ("", ' stroke-dasharray="7 3"', ' stroke-dasharray="2 3"')[number // len(MARKS) % 3]
        parts.append(f'<path d="M{line}" stroke="{colour}" stroke-width="2"{dash} fill="none"/>')
        for (x, y), point in zip(places, curve.points, strict=True):
            low, high = field.y(point.value.low), field.y(point.value.high)
            said = f"{curve.label} at {point.at:g}: {_with_range(point.value)}"
            parts.append(
                f'<g><title>{_text(said)}</title><path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>'
                f"{_mark(number, x, y, colour)}</g>"
            )
        first, last = curve.points[0].value.value, curve.points[-1].value.value
        told.append(f"{curve.label}: {first:.3f} to {last:.3f}")
    height = HEIGHT + 18 * ((len(curves) + 1) // 2)
    for number, curve in enumerate(curves):
        x, y = LEFT + 250 * (number % 2), HEIGHT + 8 + 18 * (number // 2)
        parts.append(
            _mark(number, x, y - 4, COLOURS[number % len(COLOURS)]) + _label(x + 10, y, _short(curve.label), INK)
        )
    return _svg(name, title, "; ".join(told) + ".", WIDTH, height, parts)


def contribution_svg(rows: Sequence[ContributionShown], measure: str, name: str = "contribution") -> str:
    """Return what each modality brings as bars with intervals: Shapley value, and what hiding or mixing it up costs."""
    kinds = (("Shapley value", "shapley"), ("hidden", "without"), ("mixed up", "permuted"))
    shown = [(row, [(said, getattr(row, kind)) for said, kind in kinds if getattr(row, kind)]) for row in rows]
    axis = axis_of([value for _, values in shown for _, value in values], 0.0)
    across = WIDTH - NAME_PX - RIGHT
    parts, told, y = [], [], TOP
    for row, values in shown:
        parts.append(_label(12, y + 8, _short(row.modality), INK, bold=True))
        y += 12
        for number, (said, value) in enumerate(values):
            x0, x1 = (NAME_PX + across * axis.place(v) / 100 for v in sorted((0.0, value.value)))
            low, high = (NAME_PX + across * axis.place(v) / 100 for v in (value.low, value.high))
            middle, colour = y + 11, COLOURS[number]
            parts.append(
                f"<g><title>{_text(f'{row.modality}, {said}: {_with_range(value)}')}</title>"
                f'<rect x="{x0:.1f}" y="{middle - 7}" width="{max(x1 - x0, 1):.1f}" height="14" fill="{colour}"/>'
                f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}V{middle + 4}'
                f'M{high:.1f} {middle - 4}V{middle + 4}" stroke="{INK}" fill="none"/></g>'
                + _label(NAME_PX - 12, y + 15, said, SOFT, "end")
            )
            told.append(f"{row.modality}, {said}: {_with_range(value)}")
            y += ROW_PX - 8
        y += 12
    zero = NAME_PX + across * axis.place(0.0) / 100
    parts.insert(0, f'<path d="M{zero:.1f} {TOP - 6}V{y - 6}" stroke="{SOFT}"/>')
    for place, label in axis.ticks:
        parts.append(_label(NAME_PX + across * place / 100, y + 8, label, SOFT, "middle"))
    parts.append(_label(NAME_PX + across / 2, y + 26, f"{measure} that it brings", SOFT, "middle"))
    return _svg(name, "What each modality brings", "; ".join(told) + ".", WIDTH, y + 36, parts)


def confusion_svg(results: ClassResults, name: str = "confusion") -> str | None:
    """Return the confusion matrix; None where it has too many classes to be read."""
    heat = heat_map(results)
    if heat is None:
        return None
    side = heat.cell - 2
    parts = [
        _label(heat.left, 14, "predicted", SOFT),
        f'<text transform="translate(14 {heat.top}) rotate(-90)" text-anchor="end" fill="{SOFT}">true</text>',
    ]
    parts += [
        f'<text transform="translate({at.x} {at.y}) rotate(-90)" dominant-baseline="central">{_text(at.text)}</text>'
        for at in heat.columns
    ]
    parts += [_label(at.x, at.y + 4, at.text, INK, "end") for at in heat.rows]
    for cell in heat.cells:
        colour = COLOURS[0] if cell.right else COLOURS[1]
        parts.append(
            f'<g><title>{_text(cell.title)}</title><rect x="{cell.x}" y="{cell.y}" width="{side}" height="{side}" '
            f'fill="{RULE}" fill-opacity="0.4"/><rect x="{cell.x}" y="{cell.y}" width="{side}" height="{side}" '
            f'fill="{colour}" fill-opacity="{cell.opacity}"/>'
            + (_label(cell.x + side / 2, cell.y + side / 2 + 4, cell.text, "#fff" if cell.dark else INK, "middle"))
            * bool(cell.text)
            + "</g>"
        )
    right = sum(results.confusion[n][n] for n in range(len(results.scores)))
    every = sum(map(sum, results.confusion))
    told = f"Rows are true, columns predicted; {right} of {every} {results.counted} are on the diagonal."
    return _svg(name, "Confusion matrix", told, heat.width, heat.height, parts)


_TENTHS = tuple((20.0 * n, f"{n / 5:.1f}") for n in range(6))


class _Field:
    """The area of a chart, and where values stand in it."""

    def __init__(self, across: Axis, up: Axis, marks: Sequence[float] = ()) -> None:
        self._across, self._up = across, up
        self._marks = [(self.x(at), f"{at:g}") for at in marks] or [
            (LEFT + (WIDTH - LEFT - RIGHT) * place / 100, label) for place, label in across.ticks
        ]

    def x(self, value: float) -> float:
        """Return the place of a value from the left."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * self._across.place(value) / 100, 1)

    def y(self, value: float) -> float:
        """Return the place of a value from the top."""
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * self._up.place(value) / 100, 1)

    def frame(self, across: str, up: str) -> str:
        """Return grid, ticks and the names of the axes."""
        bottom, height = HEIGHT - BOTTOM, HEIGHT - TOP - BOTTOM
        parts = [_label(x, bottom + 18, label, SOFT, "middle") for x, label in self._marks]
        for place, label in self._up.ticks:
            y = bottom - height * place / 100
            parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{RULE}"/>')
            parts.append(_label(LEFT - 8, y + 4, label, SOFT, "end"))
        parts.append(_label((LEFT + WIDTH - RIGHT) / 2, bottom + 36, across, SOFT, "middle"))
        parts.append(
            f'<text transform="translate(14 {TOP + height / 2}) rotate(-90)" text-anchor="middle" '
            f'fill="{SOFT}">{_text(up)}</text>'
        )
        return "".join(parts)


def _svg(name: str, title: str, told: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="plot-{name}-title plot-{name}-desc" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="{INK}">'
        f'<title id="plot-{name}-title">{_text(title)}</title><desc id="plot-{name}-desc">{_text(told)}</desc>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _mark(number: int, x: float, y: float, colour: str) -> str:
    match MARKS[number % len(MARKS)]:
        case "circle":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        case "square":
            return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"/>'
        case "diamond":
            return f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z" fill="{colour}"/>'
        case _:
            return f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z" fill="{colour}"/>'


def _label(x: float, y: float, text: str, colour: str, anchor: str = "start", *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{_text(text)}</text>'


def _with_range(value: Range) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _text(text: str) -> str:
    return escape(visible(text))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
