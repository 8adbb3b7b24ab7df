"""What cannot be used, by reason and row by row."""

from __future__ import annotations

from dataclasses import dataclass

from mmpipe.app.values.paging import Paging

ROWS_PER_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineAsk:
    """Which rows are wanted; "" asks for all."""

    stage: str = ""
    code: str = ""
    dt: str = ""
    text: str = ""  # that a name, a detail or a key holds
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """One reason of one stage."""

    stage: str
    code: str
    count: int
    newest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """One thing that cannot be used: what, where it fell out, why, and the way out."""

    dt: str
    stage: str
    code: str
    detail: str
    file: str
    source_id: str
    clip_key: str
    feature: str
    facts: str
    attempts: int
    kept: bool  # in use all the same: a note
    released_before: bool
    replay: str  # the command that tries it again


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """A page of the quarantine."""

    corpus: str
    ask: QuarantineAsk
    reasons: tuple[ReasonCount, ...]  # of all rows, most frequent first
    rows: tuple[QuarantineRow, ...]
    paging: Paging
    total: int  # rows of the whole corpus
