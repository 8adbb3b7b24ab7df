"""The ledger of a corpus as dates x features: how far each is, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mmpipe.app.values.paging import Paging, rows_of

STATES = ("missing", "stale", "failed", "running", "unknown", "absent", "complete")  # the first names a cell
DATES_PER_PAGE = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why shards of a cell are in a state."""

    state: str
    shards: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One date of one feature."""

    dt: str
    feature: str
    state: str  # the worst of its shards
    words: str  # "3 complete, 1 missing"
    clips: int
    values: int
    quarantined: int
    nbytes: int
    reasons: tuple[Reason, ...] = ()  # of shards that are not complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The newest whole date of a feature."""

    feature: str
    newest: str  # "" where no date is whole
    age_h: float | None
    max_age_h: float | None  # what is allowed; None: anything
    published: str
    late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All dates x features of a corpus."""

    corpus: str
    features: tuple[str, ...]
    cells: tuple[Cell, ...]
    freshness: tuple[Freshness, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)  # features that cannot be judged here, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixAsk:
    """Which part of the matrix is wanted; "" asks for all."""

    feature: str = ""
    state: str = ""
    first: str = ""  # dates, both included
    last: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One date, with a cell per shown feature; None where the date has no clip for it."""

    dt: str
    clips: int
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A page of the matrix."""

    corpus: str
    ask: MatrixAsk
    every_feature: tuple[str, ...]
    features: tuple[str, ...]  # that are shown
    states: dict[str, int]  # cells of the whole corpus by state
    rows: tuple[MatrixRow, ...]  # newest date first
    paging: Paging
    num_dates: int
    freshness: tuple[Freshness, ...]
    faults: dict[str, str]
    at_work: str = ""


def count_states(cells: Sequence[Cell]) -> dict[str, int]:
    """Return how many cells are in each state that there is, in the order of STATES."""
    found = dict.fromkeys(STATES, 0)
    for cell in cells:
        found[cell.state] += 1
    return {state: count for state, count in found.items() if count}


def cut_matrix(ledger: Ledger, ask: MatrixAsk, at_work: str = "") -> Matrix:
    """Return the part of a ledger that is asked for: dates with a cell that fits, newest first."""
    features = tuple(name for name in ledger.features if ask.feature in ("", name))
    by_date: dict[str, dict[str, Cell]] = {}
    for cell in ledger.cells:
        if cell.feature in features and _is_between(cell.dt, ask):
            by_date.setdefault(cell.dt, {})[cell.feature] = cell
    fitting = [
        dt
        for dt, cells in sorted(by_date.items(), reverse=True)
        if not ask.state or any(cell.state == ask.state for cell in cells.values())
    ]
    dates, paging = rows_of(fitting, ask.page, DATES_PER_PAGE)
    return Matrix(
        corpus=ledger.corpus,
        ask=ask,
        every_feature=ledger.features,
        features=features,
        states=count_states(ledger.cells),
        rows=tuple(_row(dt, by_date[dt], features) for dt in dates),
        paging=paging,
        num_dates=len({cell.dt for cell in ledger.cells}),
        freshness=ledger.freshness,
        faults=ledger.faults,
        at_work=at_work,
    )


def _is_between(dt: str, ask: MatrixAsk) -> bool:
    return (not ask.first or dt >= ask.first) and (not ask.last or dt <= ask.last)


def _row(dt: str, cells: dict[str, Cell], features: Sequence[str]) -> MatrixRow:
    return MatrixRow(
        dt=dt, clips=max(cell.clips for cell in cells.values()), cells=tuple(cells.get(name) for name in features)
    )
