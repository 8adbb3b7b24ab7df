"""Render the values of a page as HTML: every value escaped, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment
from markupsafe import Markup

from mmpipe.app.line import HEIGHT, WIDTH, points_of
from mmpipe.look.pages import look_css, make_environment
from mmpipe.look.text import visible

_PART = 200  # letters that are made visible at once: the look's own cut is for tables
_DAY_H = 24


def render(template: str, **values: Any) -> str:
    """Return a page."""
    return _environment().get_template(f"{template}.html.j2").render(**values)


@cache
def stylesheet() -> str:
    """Return the look of every page: the shared one, and what only the app has."""
    own = files("mmpipe.app") / "templates" / "app.css"
    return f"{look_css()}\n{own.read_text('utf-8')}"


def path_of(*names: str, **query: object) -> Markup:
    """Return an address: each name is one part of it, whatever it holds; what asks for nothing is left out."""
    address = "/" + "/".join(quote(str(name), safe="@") for name in names)
    # Quoted letter by letter, so nothing in it can end an attribute; as markup it is not cut as a text would be.
    asked = _asked_for(query)
    return Markup("{}").format(address) + (Markup("?") + asked if asked else "")


@cache
def _environment() -> Environment:
    environment = make_environment("mmpipe.app")
    environment.filters.update(age=_age, whole=_whole, took=_took, moment=_moment, asked_for=_asked_for)
    environment.globals.update(path_of=path_of, points_of=points_of, LINE_WIDTH=WIDTH, LINE_HEIGHT=HEIGHT)
    return environment


def _asked_for(query: Mapping[str, object]) -> Markup:
    """Return the part of an address behind the question mark, without what asks for nothing or for the first page."""
    return Markup("{}").format(urlencode({name: value for name, value in query.items() if value not in ("", None, 1)}))


def _whole(text: str) -> Markup:
    """Return a text of any length: a command that was cut would be of no use."""
    shown = "".join(visible(text[start : start + _PART]) for start in range(0, len(text), _PART))
    return Markup("{}").format(shown)


def _age(age_h: float) -> str:
    return f"{age_h:.0f} h" if age_h < 3 * _DAY_H else f"{age_h / _DAY_H:.0f} days"


def _moment(stamp: str) -> str:
    """Return a time stamp as people read it, to the second."""
    return stamp[:19].replace("T", " ")


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
