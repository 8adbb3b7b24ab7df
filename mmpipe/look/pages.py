"""Make pages from templates: every value is escaped, cut and made visible on its way in.

Names on them come from strangers' files. A template of a room extends `page.html.j2` and uses the macros of
`parts.html.j2`; neither holds a style or handler in an attribute, so that the policy can forbid all of these.
"""

from __future__ import annotations

import base64
from functools import cache
from math import inf
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmpipe.look.policy import content_policy
from mmpipe.look.text import visible

LOOK = "mmpipe.look"
MOST_ROWS = 100
MOST_CODE = 10_000  # characters of a program
_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


@cache
def make_environment(package: str = LOOK, most_rows: int = MOST_ROWS) -> Environment:
    """Return what renders the templates of a room, with the shared ones beside them."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(LOOK)]),
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
        fixed=lambda value: "∞" if value == inf else f"{value:.2f}",
        percent=_percent,
        nbytes=_nbytes,
        seconds=lambda value: f"{value:.2f} s",
        shown=lambda rows: tuple(rows)[:most_rows],
        left_out=lambda rows: max(len(rows) - most_rows, 0),
        image=image_address,
        film=film_address,
        code=_code,
        capitalize_first=lambda text: text[:1].upper() + text[1:],
    )
    return environment


def render_page(environment: Environment, template: str, **values: Any) -> str:
    """Return a page that holds all it needs, under a policy that forbids all else; same values, same bytes."""
    style = look_css()
    return environment.get_template(template).render(
        style=Markup(style), policy=Markup(content_policy([style])), contents=Contents(), **values
    )


class Contents:
    """The sections of a page, noted while they are rendered: the list above them is made last."""

    def __init__(self) -> None:
        """Start with none."""
        self.entries: list[tuple[str, str]] = []

    def add(self, id: str, title: str) -> Markup:
        """Note a section; return nothing to see."""
        self.entries.append((id, title))
        return Markup("")


@cache
def look_css() -> str:
    """Return the style sheet of all pages."""
    loader = PackageLoader(LOOK)
    return loader.get_source(Environment(), "look.css")[0]


def image_address(image: bytes) -> Markup:
    """Return a picture as an address of its own bytes; SVG, which can hold scripts, is no picture here."""
    for start, kind in _KINDS:
        if image.startswith(start):
            return _address(kind, image)
    raise ValueError(f"a picture must be PNG, JPEG or WebP; its bytes start with {image[:8]!r}")


def film_address(film: bytes, kind: str) -> Markup:
    """Return a film or sound in an MP4 as an address of its own bytes; `kind` is video or audio."""
    if film[4:8] != b"ftyp" or kind not in ("video", "audio"):
        raise ValueError(f"a {kind} must be in an MP4; its bytes start with {film[:8]!r}")
    return _address(f"{kind}/mp4", film)


def _address(kind: str, data: bytes) -> Markup:
    return Markup("data:{};base64,{}").format(kind, base64.b64encode(data).decode())


def _finalize(value: Any) -> Any:
    """Treat every value on its way into the page; Jinja escapes what comes out, unless it is markup already."""
    return value if isinstance(value, Markup) else visible(str(value))


def _code(program: str) -> Markup:
    """Return a program of several lines: these stay, all else that cannot be seen is spelt out."""
    return Markup("\n").join(visible(line) for line in program[:MOST_CODE].splitlines())


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0%"


def _nbytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
