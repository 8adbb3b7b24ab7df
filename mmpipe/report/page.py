"""Render a report as one HTML file that needs nothing else: no script, no font, no network.

Names in it come from strangers' files. They are escaped, their invisible characters are spelt out, overlong ones are
cut, and the page's own content policy forbids scripts and loading anything. However much a store holds, the page stays
under `MOST_BYTES`: where it does not fit, it is made again with fewer pictures, points and rows.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from mmpipe.look.pages import make_environment, render_page
from mmpipe.report.axis import axis_of
from mmpipe.report.charts import heat_map, worst_confusions
from mmpipe.report.embedding import MapShown, map_svg
from mmpipe.report.examined import Examined
from mmpipe.report.histograms import histogram_svg
from mmpipe.report.plots import contribution_svg, curves_svg, reliability_svg
from mmpipe.report.sprites import Sprites
from mmpipe.report.values import ModelResults, ReportInput, Thumbnail

MOST_BYTES = 2_900_000
ROOM = "mmpipe.report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of everything a page shows at most."""

    rows: int
    points: int  # of a map
    picture_bytes: int  # of small pictures
    thumbnail_bytes: int  # of the strips of clips


BOUNDS = (
    Bounds(rows=100, points=300, picture_bytes=800_000, thumbnail_bytes=700_000),
    Bounds(rows=40, points=150, picture_bytes=400_000, thumbnail_bytes=300_000),
    Bounds(rows=15, points=50, picture_bytes=150_000, thumbnail_bytes=0),
    Bounds(rows=4, points=0, picture_bytes=0, thumbnail_bytes=0),
)


def render_report(report: ReportInput) -> str:
    """Return the page; the same values give the same bytes."""
    for bounds in BOUNDS:
        page = _render(report, bounds)
        if len(page.encode()) < MOST_BYTES:
            break
    return page


def _render(report: ReportInput, bounds: Bounds) -> str:
    shown = within_budget(report.thumbnails, bounds.thumbnail_bytes)
    sprites = Sprites(report.pictures, bounds.picture_bytes)
    maps = [(one, thin_map(one, bounds.points, sprites.ids)) for one in report.maps] if bounds.points else []
    return render_page(
        make_environment(ROOM, bounds.rows),
        "report.html.j2",
        report=report,
        thumbnails=shown,
        thumbnails_left_out=len(report.thumbnails) - len(shown),
        charts=charts_of(report.model) if report.model else None,
        plots={name: Markup(svg) for name, svg in draw_plots(report.examined).items()} if report.examined else {},
        histograms=[
            (one, Markup(histogram_svg(one, f"signal-{n}"))) for n, one in enumerate(report.histograms[: bounds.rows])
        ],
        maps=[
            (thin, Markup(map_svg(thin, f"map-{n}", sprites.ids)), _told_clips(len(thin.points), len(whole.points)))
            for n, (whole, thin) in enumerate(maps)
        ],
        sprites=sprites,
    )


def thin_map(shown: MapShown, most: int, pictured: Container[str]) -> MapShown:
    """Return a map of so many points at most, from all over it: of those that stand together one with a picture.

    Points come oldest first: the first of them alone would be the map of other dates.
    """
    total = len(shown.points)
    if total <= most:
        return shown
    ends = [number * total // most for number in range(most + 1)]
    runs = [shown.points[start:end] for start, end in pairwise(ends)]
    kept = tuple(next((point for point in run if point.picture in pictured), run[0]) for run in runs)
    return replace(shown, points=kept)


def _told_clips(drawn: int, total: int) -> str:
    return f"{total:,} clips." if drawn == total else f"{drawn:,} clips, evenly chosen from {total:,}."


def draw_plots(examined: Examined) -> dict[str, str]:
    """Return the charts of an examination as whole SVG files, by what they show; nothing for what was not measured."""
    drawn = {
        "contribution": (examined.contributions, lambda: contribution_svg(examined.contributions, examined.measure)),
        "missing": (
            examined.missing,
            lambda: curves_svg(
                examined.missing,
                title="When a modality is missing",
                across="share of clips without it",
                name="missing",
                measure=examined.measure,
            ),
        ),
        "noise": (
            examined.noise,
            lambda: curves_svg(
                examined.noise,
                title="When values are noisy",
                across="noise, in deviations",
                name="noise",
                measure=examined.measure,
            ),
        ),
        "reliability": (examined.bins, lambda: reliability_svg(examined.bins)),
    }
    return {name: draw() for name, (values, draw) in drawn.items() if values}


def charts_of(model: ModelResults) -> dict[str, Any]:
    """Return the scales and matrices of a model's sections."""
    singles = [row for row in model.candidates if row.chosen and not row.fused]
    return {
        "axis": axis_of([row.worth for row in model.candidates]) if model.candidates else None,
        "reference": singles[0].worth.value if singles else None,
        "gain_axis": axis_of([model.gain.worth], 0.0, model.gain.margin) if model.gain else None,
        "heat": heat_map(model.classes) if model.classes else None,
        "worst": worst_confusions(model.classes) if model.classes else (),
    }


def within_budget(thumbnails: Sequence[Thumbnail], most_bytes: int) -> tuple[Thumbnail, ...]:
    """Return the pictures that fit, in their order."""
    shown: list[Thumbnail] = []
    for thumbnail in thumbnails:
        if len(thumbnail.image) <= most_bytes:
            shown.append(thumbnail)
            most_bytes -= len(thumbnail.image)
    return tuple(shown)
