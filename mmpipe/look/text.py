"""Text from strangers' files, fit to be shown."""

from __future__ import annotations

LONGEST_TEXT = 400


def visible(text: str) -> str:
    """Return text that shows what it holds: unprintable characters spelt out, and no longer than a reader bears."""
    cut = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in cut)
