"""Render a report as one HTML file that needs nothing else: no script, no font, no network.

Names in it come from strangers' files. They are escaped, their invisible characters are spelt out, overlong ones are
cut, and the page's own content policy forbids scripts and loading anything.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmpipe.report.charts import axis_of, heat_map, worst_confusions
from mmpipe.report.examined import Examined
from mmpipe.report.plots import contribution_svg, curves_svg, reliability_svg
from mmpipe.report.text import visible as visible
from mmpipe.report.values import ModelResults, ReportInput, Thumbnail

MOST_ROWS = 100
THUMBNAIL_BUDGET_BYTES = 1_500_000
_IMAGE_STARTS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"RIFF", "webp"))


def render_report(report: ReportInput) -> str:
    """Return the page; the same values give the same bytes."""
    environment = Environment(
        loader=PackageLoader("mmpipe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=lambda count: f"{count:,}",
        ratio=lambda value: f"{value:.3f}",
        signed=lambda value: f"{value:+.3f}",
        plain=lambda value: f"{value:.4g}",
        percent=_percent,
        nbytes=_nbytes,
        shown=lambda rows: tuple(rows)[:MOST_ROWS],
        left_out=lambda rows: max(len(rows) - MOST_ROWS, 0),
        image=_data_address,
        capitalize_first=lambda text: text[:1].upper() + text[1:],
    )
    shown = _within_budget(report.thumbnails)
    return environment.get_template("report.html.j2").render(
        report=report,
        thumbnails=shown,
        thumbnails_left_out=len(report.thumbnails) - len(shown),
        charts=_charts(report.model) if report.model else None,
        plots={name: Markup(svg) for name, svg in draw_plots(report.examined).items()} if report.examined else {},
    )


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


def _finalize(value: Any) -> Any:
    """Treat every value on its way into the page; Jinja escapes what comes out, unless it is markup already."""
    return value if isinstance(value, Markup) else visible(str(value))


def _charts(model: ModelResults) -> dict[str, Any]:
    singles = [row for row in model.candidates if row.chosen and not row.fused]
    return {
        "axis": axis_of([row.worth for row in model.candidates]) if model.candidates else None,
        "reference": singles[0].worth.value if singles else None,
        "gain_axis": axis_of([model.gain.worth], 0.0, model.gain.margin) if model.gain else None,
        "heat": heat_map(model.classes) if model.classes else None,
        "worst": worst_confusions(model.classes) if model.classes else (),
    }


def _within_budget(thumbnails: Sequence[Thumbnail]) -> tuple[Thumbnail, ...]:
    shown: list[Thumbnail] = []
    left = THUMBNAIL_BUDGET_BYTES
    for thumbnail in thumbnails:
        if len(thumbnail.image) <= left:
            shown.append(thumbnail)
            left -= len(thumbnail.image)
    return tuple(shown)


def _data_address(image: bytes) -> Markup:
    """Return the picture as an address of its own bytes; SVG, which can hold scripts, is no picture here."""
    for start, kind in _IMAGE_STARTS:
        if image.startswith(start):
            return Markup("data:image/{};base64,{}").format(kind, base64.b64encode(image).decode())
    raise ValueError(f"a thumbnail must be PNG, JPEG or WebP; its bytes start with {image[:8]!r}")


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0%"


def _nbytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
