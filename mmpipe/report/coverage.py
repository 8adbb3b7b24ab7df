"""Which clips have a value of which feature: by asset where they fit on a page, else by date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_COVERAGE_ROWS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageCell:
    """The clips of one row, by what became of one feature of them; they sum to the clips."""

    written: int = 0
    absent: int = 0  # the modality is not in them
    quarantined: int = 0
    missing: int = 0  # not made yet

    @property
    def clips(self) -> int:
        """Return how many clips it tells of."""
        return self.written + self.absent + self.quarantined + self.missing

    @property
    def level(self) -> str:
        """Return the name of the cell's look."""
        due = self.written + self.quarantined + self.missing
        if not due:
            return "lvx"
        if self.written == due:
            return "lv4"
        share = self.written / due
        return "lv0" if not self.written else "lv1" if share < 0.5 else "lv2" if share < 0.9 else "lv3"

    @property
    def text(self) -> str:
        """Return what the cell says."""
        due = self.written + self.quarantined + self.missing
        return f"{self.written:,}/{due:,}" if due else "–"

    @property
    def told(self) -> str:
        """Return all of it in words."""
        names = ("written", "absent", "quarantined", "missing")
        return ", ".join(f"{count} {name}" for name in names if (count := getattr(self, name))) or "no clips"

    def __add__(self, other: CoverageCell) -> CoverageCell:
        """Return both together."""
        return CoverageCell(
            written=self.written + other.written,
            absent=self.absent + other.absent,
            quarantined=self.quarantined + other.quarantined,
            missing=self.missing + other.missing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRow:
    """One asset or date; cells in the order of the features."""

    name: str
    note: str
    cells: tuple[CoverageCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageShown:
    """The matrix."""

    by: str  # "asset", "date"
    features: tuple[str, ...]
    rows: tuple[CoverageRow, ...]


def fold_rows(rows: Sequence[CoverageRow], most: int = MOST_COVERAGE_ROWS) -> tuple[CoverageRow, ...]:
    """Keep the last rows, and put all before them together as one, the first."""
    if len(rows) <= most:
        return tuple(rows)
    old = rows[: len(rows) - most + 1]
    cells = tuple(sum(column, CoverageCell()) for column in zip(*(row.cells for row in old), strict=True))
    return (CoverageRow(name=f"{len(old):,} before", note="together", cells=cells), *rows[len(old) :])
