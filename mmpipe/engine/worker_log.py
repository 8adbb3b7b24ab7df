"""What a worker process says on its way: cut, counted, and logged by the parent with the shard and clip it is about.

Whoever runs in a worker may say anything, any number of times, and a file's name may hold a line break: so a line is
bounded, its control characters are written out, and of one part or one item only so many are kept.
"""

from __future__ import annotations

import json
import logging
from collections import Counter

from mmpipe.engine.work import Event, SaidLine
from mmpipe.words import printable

LOGGER = logging.getLogger("mmpipe.worker")
OFF = logging.CRITICAL + 1  # as a least level: nothing is forwarded
MOST_LETTERS = 1000  # of a line
MOST_OF_PART, MOST_OF_ITEM = 20, 200  # lines; what a decoder says of one broken file may be thousands
_MOST_PART_LETTERS = 100  # six bytes each at most: the mark of a part is never cut as too long
OUTPUT = "output"  # the origin of what came over standard output or error


class LineLimit:
    """Counts the lines of one item, and says which of them are still wanted; the part may change at any time."""

    def __init__(self, most_of_part: int = MOST_OF_PART, most_of_item: int = MOST_OF_ITEM) -> None:
        self._most_of_part, self._most_of_item = most_of_part, most_of_item
        self._by_part: Counter[str] = Counter()
        self.num_left_out = 0

    def wants(self, part: str) -> bool:
        """Count a line of a part, and say whether it is one of the first."""
        self._by_part[part] += 1
        taken = sum(min(count, self._most_of_part) for count in self._by_part.values())
        if self._by_part[part] <= self._most_of_part and taken <= self._most_of_item:
            return True
        self.num_left_out += 1
        return False


class LineCutter:
    """Cuts what comes over a pipe into lines; one without an end is cut where it gets too long.

    The worker says between them which part it is at, by `mark_part`: what a library prints in one part must not be
    taken for another's, however late it is read.
    """

    def __init__(self, token: str) -> None:
        self._mark = token.encode()
        self._rest = b""
        self._part = ""

    def feed(self, data: bytes) -> list[tuple[str, str]]:
        """Return the lines that `data` completes, each behind the part that it was said in."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST_LETTERS + len(self._mark):
            whole, self._rest = [*whole, self._rest], b""
        return [(self._part, line) for piece in whole if not self._is_mark(piece) and (line := _cut(piece))]

    def rest(self) -> list[tuple[str, str]]:
        """Return what came after the last line break."""
        piece, self._rest = self._rest, b""
        return [(self._part, line)] if (line := _cut(piece)) else []

    def _is_mark(self, piece: bytes) -> bool:
        if not piece.startswith(self._mark):
            return False
        try:
            self._part = str(json.loads(piece[len(self._mark) :]))
        except (ValueError, RecursionError):
            self._part = ""  # cut short, or forged: of no part is better than of a wrong one
        return True


def mark_part(token: str, part: str) -> bytes:
    """Return what a worker writes between the lines when it comes to a part."""
    return f"\n{token}{json.dumps(part[:_MOST_PART_LETTERS])}\n".encode()


def pack_line(level: int, origin: str, text: str) -> bytes:
    """Return a line as it travels."""
    return json.dumps([level, origin[:100], text[:MOST_LETTERS]]).encode()


def parse_line(body: bytes, part: str) -> SaidLine | None:
    """Return the line that a worker sent while it was at a part, None where it is none: it is data, whatever it is."""
    try:
        level, origin, text = json.loads(body)
        if type(level) is not int or not isinstance(origin, str) or not isinstance(text, str):
            return None
    except (ValueError, TypeError, RecursionError):
        return None
    return SaidLine(level=level, origin=origin[:100], text=text[:MOST_LETTERS], part=part)


def tell(event: Event) -> bool:
    """Log an event that is a line or a death, in the thread that runs the item; say whether it was a line."""
    if event.line is not None:
        said = event.line
        about = f"{printable(event.item)}{f', {printable(said.part)}' if said.part else ''}"
        origin = f"{printable(said.origin)}: " if said.origin else ""
        fields = {"shard": printable(event.item), "clip": printable(said.part), "origin": printable(said.origin)}
        LOGGER.log(said.level, "%s: %s%s", about, origin, printable(said.text), extra=fields)
        return True
    if event.kind in ("died", "poisoned"):
        told = "a worker was lost" if event.kind == "died" else "left out, it ended worker after worker"
        fields = {"shard": printable(event.item)}
        LOGGER.warning("%s: %s: %s", printable(event.item), told, printable(event.text), extra=fields)
    return False


def _cut(piece: bytes) -> str:
    return piece[:MOST_LETTERS].decode("utf-8", "backslashreplace").strip()
