"""How counts are said to people."""

from __future__ import annotations


def counted(number: int, noun: str, then: str = "", one: str = "") -> str:
    """Return "1 label" or "2 labels"; what is said of several goes in `then`, what is said of one in `one`."""
    if number == 1:
        return f"1 {noun}{f' {one}' if one else ''}"
    return f"{number} {noun}s{f' {then}' if then else ''}"


def printable(text: str) -> str:
    r"""Return text in which no control, line break or change of direction is left: each is written as \n, \x1b, \u202e.

    So that what a hostile name or file says stays the one line that it is said in.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
