"""How counts are said to people."""

from __future__ import annotations


def counted(number: int, noun: str, then: str = "", one: str = "") -> str:
    """Return "1 label" or "2 labels"; what is said of several goes in `then`, what is said of one in `one`."""
    if number == 1:
        return f"1 {noun}{f' {one}' if one else ''}"
    return f"{number} {noun}s{f' {then}' if then else ''}"
