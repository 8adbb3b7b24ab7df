"""What of a source is to be in its mirror, and under which name: pure, but for the stamps that it asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmpipe.config import SourceConfig
from mmpipe.errors import SampleError
from mmpipe.io import escape_name, unescape_name
from mmpipe.sources.listing import Filtered, FilterReason, filter_reason
from mmpipe.sources.origins import NoAnswerError, SourceObject, clean_url
from mmpipe.sources.records import Records
from mmpipe.sources.safe_names import NameBook, safe_name
from mmpipe.sources.table import read_cells
from mmpipe.types import Drop, digest_of

LookAtAll = Callable[[Sequence[str]], Mapping[str, SourceObject | SampleError]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing to bring: an object, an archive, or the content of a cell."""

    origin: str  # what it is known by from run to run
    name: str  # escaped, below the mirror
    stamp: str
    address: str = ""  # below the root, or a URL
    content: bytes | None = None
    is_archive: bool = False
    row: int = 0  # of a table, from 1

    @property
    def said(self) -> str:
        """Return where it comes from, for a person."""
        return repr(clean_url(self.address) if self.address else self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorPlan:
    """All parts of a source, and what of it will not come."""

    parts: tuple[Part, ...]
    drops: tuple[Drop, ...]
    filtered: tuple[Filtered, ...]
    unanswered: frozenset[str] = frozenset()  # origins that could not be asked: what was brought of them before, stays


def plan_tars(objects: Iterable[SourceObject], pattern: str) -> MirrorPlan:
    """Pick the archives by a pattern; whatever else lies there is left out by rule."""
    fits = re.compile(_pattern(pattern))
    chosen: list[SourceObject] = []
    rest: list[SourceObject] = []
    for entry in objects:
        (chosen if fits.fullmatch(entry.name) else rest).append(entry)
    plan = _judge(chosen, is_archive=True)
    left_out = [Filtered(name=entry.name, reason=FilterReason.PATTERN) for entry in rest]
    return MirrorPlan(parts=plan.parts, drops=plan.drops, filtered=(*plan.filtered, *left_out))


def plan_objects(objects: Iterable[SourceObject], file_bytes: int) -> MirrorPlan:
    """Take every object as a file."""
    small: list[SourceObject] = []
    large: list[SourceObject] = []
    for entry in objects:
        (small if entry.nbytes <= file_bytes else large).append(entry)
    plan = _judge(small, is_archive=False)
    too_large = [
        _drop(entry.name, SampleError("limit_file", f"{entry.nbytes} bytes, allowed are {file_bytes}"))
        for entry in large
    ]
    return MirrorPlan(parts=plan.parts, drops=(*plan.drops, *too_large), filtered=plan.filtered)


def plan_table(records: Records, source: SourceConfig, look_at_all: LookAtAll, file_bytes: int) -> MirrorPlan:
    """Take every cell of a table that is not empty as a file."""
    cells = read_cells(records, source)
    found = look_at_all(sorted({cell.address for cell in cells.cells if cell.address}))
    parts, drops, unanswered = [], list(cells.drops), set()
    for cell in cells.cells:
        said = found.get(cell.address)
        if isinstance(said, NoAnswerError):
            unanswered.add(cell.name)
        if isinstance(said, SampleError):
            drops.append(_drop(cell.name, said))
        elif said and said.nbytes > file_bytes:
            too_large = SampleError("limit_file", f"{said.nbytes} bytes, allowed are {file_bytes}")
            drops.append(_drop(cell.name, too_large))
        else:
            stamp = said.stamp if said else digest_of(cell.content or b"")
            where = digest_of(cell.address) if cell.address else "inline"
            parts.append(
                Part(
                    origin=cell.name,
                    name=cell.name,
                    stamp=f"{where} {stamp}",
                    address=cell.address,
                    content=cell.content,
                    row=cell.row,
                )
            )
    return MirrorPlan(parts=tuple(parts), drops=tuple(drops), filtered=(), unanswered=frozenset(unanswered))


def _judge(objects: Iterable[SourceObject], is_archive: bool) -> MirrorPlan:
    parts, drops, filtered = [], [], []
    book = NameBook()
    for entry in objects:
        name = unescape_name(entry.name)
        try:
            if any(filter_reason(part) for part in safe_name(name).split(b"/")):
                filtered.append(Filtered(name=entry.name, reason=FilterReason.HIDDEN))
                continue
            book.add(safe_name(name))
        except SampleError as error:
            drops.append(_drop(entry.name, error))
            continue
        parts.append(
            Part(
                origin=entry.name,
                name=escape_name(safe_name(name)),
                stamp=entry.stamp,
                address=entry.name,
                is_archive=is_archive,
            )
        )
    return MirrorPlan(parts=tuple(parts), drops=tuple(drops), filtered=tuple(filtered))


def _drop(name: str, error: SampleError) -> Drop:
    return Drop(stage="list", code=error.code, detail=f"{clean_url(name)!r}: {error.detail}", file=name)


def _pattern(pattern: str) -> str:
    """Return a glob as a regular expression: `**/` is any folders, `*` and `?` stay inside one."""
    parts = re.split(r"(\*\*/|\*|\?)", pattern)
    meant = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(meant.get(part) or re.escape(part) for part in parts)
