"""When the night of a corpus begins, and how much of the machines it may have."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from mmpipe.config.table import Table

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Name, lowest, highest, and the words that stand for numbers from the lowest on.
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>\d+))?")


class NightConfig(Table):
    """When a corpus is taken in by itself, and its share of the machines; nothing that is made depends on it."""

    cron: str = Field(
        "0 2 * * *", description='when the night begins, in cron\'s five fields and in `timezone`; "": never by itself'
    )
    priority: int = Field(
        10, ge=1, le=1_000, description="1 is served first; it counts only where runs wait for a slot of the pool"
    )
    max_runs: int = Field(4, ge=1, le=1_000, description="most runs of the corpus at once that extract, train or fill")

    @field_validator("cron")
    @classmethod
    def _cron_is_one(cls, cron: str) -> str:
        if cron and (fault := _fault_of(cron)):
            raise ValueError(f'{fault}; for example "0 2 * * *": every night at two')
        return cron


def _fault_of(cron: str) -> str:
    """Say what is wrong with an expression; "" where nothing is."""
    parts = cron.split()
    if len(parts) != len(_FIELDS):
        return f"a cron has {len(_FIELDS)} fields, this has {len(parts)}"
    for text, (name, lowest, highest, words) in zip(parts, _FIELDS, strict=True):
        for part in text.split(","):
            if not _fits(part, lowest, highest, words):
                return f"{part!r} is no {name} ({lowest} to {highest})"
    return ""


def _fits(part: str, lowest: int, highest: int, words: tuple[str, ...]) -> bool:
    """Say whether a part is *, a number, a word or a range of them, each with a step or not."""
    found = _PART.fullmatch(part)
    if not found or (found["step"] is not None and int(found["step"]) < 1):
        return False
    if found["first"] == "*":
        return found["last"] is None
    numbers = [_number(text, lowest, words) for text in (found["first"], found["last"]) if text is not None]
    return all(lowest <= number <= highest for number in numbers) and numbers == sorted(numbers)


def _number(text: str, lowest: int, words: tuple[str, ...]) -> int:
    """Return the number that the text says; one that no field has where it says none."""
    if text.lower() in words:
        return lowest + words.index(text.lower())
    return int(text) if text.isascii() and text.isdigit() else -1
