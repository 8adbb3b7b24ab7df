"""What charts are drawn with: whole SVG files, which are right on white by themselves and follow the page's colours.

A reader who does not see them hears title and description; lines differ in their marks and not by colour alone. The
colours are those of Okabe and Ito (2008), told apart by people of every colour vision; the page puts others in their
place where it is dark, by the class that every coloured thing has.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mmpipe.look.text import visible
from mmpipe.report.axis import Axis
from mmpipe.report.range import Range

TONES = {"ink": "#1d2126", "soft": "#5d6670", "on": "#ffffff", "ground": "#ececea"}
LINES = {"inked": "#1d2126", "softly": "#5d6670", "rule": "#dcdedb"}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a07800", "#56b4e9", "#5d6670")
MARKS = ("circle", "square", "diamond", "triangle")
WIDTH, HEIGHT = 560, 340
LEFT, TOP, RIGHT, BOTTOM = 64, 20, 16, 46  # around the field
LONGEST_NAME = 26


class Field:
    """The area of a chart, and where values stand in it."""

    def __init__(self, across: Axis, up: Axis, marks: Sequence[float] = (), top: int = TOP) -> None:
        """Take both scales; `marks` are named below the field in place of the ticks."""
        self._across, self._up, self._top = across, up, top
        self._marks = [(self.x(at), f"{at:g}") for at in marks] or [
            (LEFT + (WIDTH - LEFT - RIGHT) * place / 100, label) for place, label in across.ticks
        ]

    def x(self, value: float) -> float:
        """Return the place of a value from the left."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * self._across.place(value) / 100, 1)

    def y(self, value: float) -> float:
        """Return the place of a value from the top."""
        return round(HEIGHT - BOTTOM - (HEIGHT - self._top - BOTTOM) * self._up.place(value) / 100, 1)

    def frame(self, across: str, up: str) -> str:
        """Return grid, ticks and the names of the axes."""
        bottom, height = HEIGHT - BOTTOM, HEIGHT - self._top - BOTTOM
        parts = [label(x, bottom + 18, text, "soft", "middle") for x, text in self._marks]
        for place, text in self._up.ticks:
            y = bottom - height * place / 100
            parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" {stroke("rule")}/>')
            parts.append(label(LEFT - 8, y + 4, text, "soft", "end"))
        parts.append(label((LEFT + WIDTH - RIGHT) / 2, bottom + 38, across, "soft", "middle"))
        parts.append(
            f'<text transform="translate(14 {self._top + height / 2}) rotate(-90)" text-anchor="middle" '
            f"{fill('soft')}>{safe(up)}</text>"
        )
        return "".join(parts)


def svg(name: str, title: str, told: str, width: int, height: int, parts: Sequence[str]) -> str:
    """Return a chart as a file; `name` is its own on a page."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="plot-{name}-title plot-{name}-desc" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="{TONES["ink"]}">'
        f'<title id="plot-{name}-title">{safe(title)}</title><desc id="plot-{name}-desc">{safe(told)}</desc>'
        f'<rect class="paper" width="{width}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def fill(tone: str) -> str:
    """Return the attributes of something filled."""
    return f'class="{tone}" fill="{TONES[tone]}"'


def stroke(tone: str) -> str:
    """Return the attributes of a line."""
    return f'class="{tone}" stroke="{LINES[tone]}"'


def coloured(number: int) -> str:
    """Return the attributes of something filled that is told from others."""
    return f'class="f{number % len(COLOURS)}" fill="{COLOURS[number % len(COLOURS)]}"'


def lined(number: int) -> str:
    """Return the attributes of a line that is told from others."""
    return f'class="s{number % len(COLOURS)}" stroke="{COLOURS[number % len(COLOURS)]}"'


def mark(number: int, x: float, y: float, colour: int, extra: str = "") -> str:
    """Return a mark, of its own shape and colour."""
    look = coloured(colour).replace('class="', f'class="{extra} ') if extra else coloured(colour)
    match MARKS[number % len(MARKS)]:
        case "circle":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {look}/>'
        case "square":
            return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" {look}/>'
        case "diamond":
            return f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z" {look}/>'
        case _:
            return f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z" {look}/>'


def label(x: float, y: float, text: str, tone: str, anchor: str = "start", *, bold: bool = False) -> str:
    """Return a text, escaped."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {fill(tone)}{weight}>{safe(text)}</text>'


def with_range(value: Range) -> str:
    """Return a number with its interval, for people."""
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def safe(text: str) -> str:
    """Return text of any origin as it may stand in a file of XML."""
    return escape(visible(text))


def short(text: str, most: int = LONGEST_NAME) -> str:
    """Return as much of a text as there is room for."""
    return text if len(text) <= most else text[: most - 1] + "…"
