"""Charts of what a model is worth: honesty, robustness, contributions, confusions."""

from __future__ import annotations

from collections.abc import Sequence

from mmpipe.report.axis import Axis, axis_of
from mmpipe.report.charts import heat_map
from mmpipe.report.examined import BinShown, ContributionShown, CurveShown
from mmpipe.report.svg import (
    HEIGHT,
    LEFT,
    MARKS,
    RIGHT,
    TOP,
    WIDTH,
    Field,
    coloured,
    fill,
    label,
    lined,
    mark,
    safe,
    short,
    stroke,
    svg,
    with_range,
)
from mmpipe.report.values import ClassResults, Range

ROW_PX, NAME_PX = 34, 190


def reliability_svg(bins: Sequence[BinShown], name: str = "reliability") -> str:
    """Return a reliability diagram: how often the model is right at each confidence; the line is honesty."""
    field = Field(Axis(low=0, high=1, ticks=_TENTHS), Axis(low=0, high=1, ticks=_TENTHS))
    total = max(sum(row.num_clips for row in bins), 1)
    parts = [field.frame("confidence", "share that is right")]
    for row in bins:
        if not row.num_clips:
            continue
        x, right, y = field.x(row.low), field.x(row.high), field.y(row.accuracy)
        said = f"confidence {row.confidence:.2f}, right {row.accuracy:.2f}, {row.num_clips} clips"
        strength = 0.25 + 0.75 * (row.num_clips / total) ** 0.5
        parts.append(
            f'<g><title>{safe(said)}</title><rect x="{x + 1:.1f}" y="{y:.1f}" width="{right - x - 2:.1f}" '
            f'height="{field.y(0) - y:.1f}" {coloured(0)} fill-opacity="{strength:.2f}"/>'
            f"{mark(0, field.x(row.confidence), y, 1)}</g>"
        )
    x0, y0, x1, y1 = field.x(0), field.y(0), field.x(1), field.y(1)
    parts.append(f'<path d="M{x0} {y0}L{x1} {y1}" {stroke("softly")} stroke-dasharray="4 4" fill="none"/>')
    worst = max(
        (row for row in bins if row.num_clips), key=lambda row: abs(row.confidence - row.accuracy), default=None
    )
    told = f"Bars: share of right answers per bin of confidence, over {total} clips; the dashed line is honest."
    if worst:
        told += f" Largest gap: confidence {worst.confidence:.2f}, right {worst.accuracy:.2f}."
    return svg(name, "Reliability: is its confidence to be believed", told, WIDTH, HEIGHT, parts)


def curves_svg(curves: Sequence[CurveShown], *, title: str, across: str, name: str, measure: str) -> str:
    """Return the measure against rates or levels, a line each, with bars for the intervals."""
    ranges = [point.value for curve in curves for point in curve.points]
    ends = [point.at for curve in curves for point in curve.points]
    most = max(ends, default=1.0) or 1.0
    ticks = tuple((0.0, f"{at:g}") for at in sorted(set(ends)))
    field = Field(
        Axis(low=0, high=most, ticks=ticks), axis_of(ranges or [Range(value=0, low=0, high=1)]), sorted(set(ends))
    )
    parts, told = [field.frame(across, measure)], []
    step = 6 / max(len(curves), 1)
    for number, curve in enumerate(curves):
        aside = step * (number - (len(curves) - 1) / 2)
        places = [(field.x(point.at) + aside, field.y(point.value.value)) for point in curve.points]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dash = ("", ' stroke-dasharray="7 3"', ' stroke-dasharray="2 3"')[number // len(MARKS) % 3]
        parts.append(f'<path d="M{line}" {lined(number)} stroke-width="2"{dash} fill="none"/>')
        for (x, y), point in zip(places, curve.points, strict=True):
            low, high = field.y(point.value.low), field.y(point.value.high)
            said = f"{curve.label} at {point.at:g}: {with_range(point.value)}"
            parts.append(
                f'<g><title>{safe(said)}</title><path d="M{x:.1f} {low:.1f}V{high:.1f}" {lined(number)}/>'
                f"{mark(number, x, y, number)}</g>"
            )
        first, last = curve.points[0].value.value, curve.points[-1].value.value
        told.append(f"{curve.label}: {first:.3f} to {last:.3f}")
    height = HEIGHT + 18 * ((len(curves) + 1) // 2)
    for number, curve in enumerate(curves):
        x, y = LEFT + 250 * (number % 2), HEIGHT + 8 + 18 * (number // 2)
        parts.append(mark(number, x, y - 4, number) + label(x + 10, y, short(curve.label), "ink"))
    return svg(name, title, "; ".join(told) + ".", WIDTH, height, parts)


def contribution_svg(rows: Sequence[ContributionShown], measure: str, name: str = "contribution") -> str:
    """Return what each modality brings as bars with intervals: Shapley value, and what hiding or mixing it up costs."""
    kinds = (("Shapley value", "shapley"), ("hidden", "without"), ("mixed up", "permuted"))
    shown = [(row, [(said, getattr(row, kind)) for said, kind in kinds if getattr(row, kind)]) for row in rows]
    axis = axis_of([value for _, values in shown for _, value in values], 0.0)
    across = WIDTH - NAME_PX - RIGHT
    parts, told, y = [], [], TOP
    for row, values in shown:
        parts.append(label(12, y + 8, short(row.modality), "ink", bold=True))
        y += 12
        for number, (said, value) in enumerate(values):
            x0, x1 = (NAME_PX + across * axis.place(v) / 100 for v in sorted((0.0, value.value)))
            low, high = (NAME_PX + across * axis.place(v) / 100 for v in (value.low, value.high))
            middle = y + 11
            parts.append(
                f"<g><title>{safe(f'{row.modality}, {said}: {with_range(value)}')}</title>"
                f'<rect x="{x0:.1f}" y="{middle - 7}" width="{max(x1 - x0, 1):.1f}" height="14" {coloured(number)}/>'
                f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}V{middle + 4}'
                f'M{high:.1f} {middle - 4}V{middle + 4}" {stroke("inked")} fill="none"/></g>'
                + label(NAME_PX - 12, y + 15, said, "soft", "end")
            )
            told.append(f"{row.modality}, {said}: {with_range(value)}")
            y += ROW_PX - 8
        y += 12
    zero = NAME_PX + across * axis.place(0.0) / 100
    parts.insert(0, f'<path d="M{zero:.1f} {TOP - 6}V{y - 6}" {stroke("softly")}/>')
    for place, tick in axis.ticks:
        parts.append(label(NAME_PX + across * place / 100, y + 8, tick, "soft", "middle"))
    parts.append(label(NAME_PX + across / 2, y + 26, f"{measure} that it brings", "soft", "middle"))
    return svg(name, "What each modality brings", "; ".join(told) + ".", WIDTH, y + 36, parts)


def confusion_svg(results: ClassResults, name: str = "confusion") -> str | None:
    """Return the confusion matrix; None where it has too many classes to be read."""
    heat = heat_map(results)
    if heat is None:
        return None
    side = heat.cell - 2
    parts = [
        label(heat.left, 14, "predicted", "soft"),
        f'<text transform="translate(14 {heat.top}) rotate(-90)" text-anchor="end" {fill("soft")}>true</text>',
    ]
    parts += [
        f'<text transform="translate({at.x} {at.y}) rotate(-90)" dominant-baseline="central" {fill("ink")}>'
        f"{safe(at.text)}</text>"
        for at in heat.columns
    ]
    parts += [label(at.x, at.y + 4, at.text, "ink", "end") for at in heat.rows]
    for cell in heat.cells:
        parts.append(
            f'<g><title>{safe(cell.title)}</title><rect x="{cell.x}" y="{cell.y}" width="{side}" height="{side}" '
            f'{fill("ground")} fill-opacity="0.6"/><rect x="{cell.x}" y="{cell.y}" width="{side}" height="{side}" '
            f'{coloured(0 if cell.right else 1)} fill-opacity="{cell.opacity}"/>'
            + (label(cell.x + side / 2, cell.y + side / 2 + 4, cell.text, "on" if cell.dark else "ink", "middle"))
            * bool(cell.text)
            + "</g>"
        )
    right = sum(results.confusion[n][n] for n in range(len(results.scores)))
    every = sum(map(sum, results.confusion))
    told = f"Rows are true, columns predicted; {right} of {every} {results.counted} are on the diagonal."
    return svg(name, "Confusion matrix", told, heat.width, heat.height, parts)


_TENTHS = tuple((20.0 * n, f"{n / 5:.1f}") for n in range(6))
