"""Put what came from raw data into Markdown so that it is only ever text."""

from __future__ import annotations

import html
import re

_STEERING = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:/@=])")


def inert(text: str) -> str:
    """Return a name or value as Markdown that shows it: no link, no picture, no tag, no line of its own."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return html.escape(_STEERING.sub(r"\\\1", shown), quote=False)


def as_block(text: str) -> str:
    """Return lines as a block of code: nothing in an indented line can end it."""
    return "\n".join(f"    {line}" for line in text.splitlines())
