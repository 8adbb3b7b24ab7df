"""Put what came from raw data into Markdown so that it is only ever text."""

from __future__ import annotations

import html
import re

CELL_LETTERS = 300
_STEERING = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:/@=])")


def inert(text: str) -> str:
    """Return a name or value as Markdown that shows it: no link, no picture, no tag, no line of its own."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return html.escape(_STEERING.sub(r"\\\1", shown), quote=False)


def plain_cell(text: str) -> str:
    """Return a name or value for a cell that some programs read as Markdown and others as it stands.

    Nothing in it can be a tag, a picture or a link that hides where it leads, and nothing is escaped: what is
    shown is what a person would type, but for a few letters.
    """
    shown = "".join(character if character.isprintable() else " " for character in text)
    for active, harmless in (("<", "‹"), ("](", "] ("), ("][", "] [")):
        shown = shown.replace(active, harmless)
    return shown if len(shown) <= CELL_LETTERS else shown[: CELL_LETTERS - 1] + "…"


def as_block(text: str) -> str:
    """Return lines as a block of code: nothing in an indented line can end it."""
    return "\n".join(f"    {line}" for line in text.splitlines())
