"""How far a date lies from the date before it: in spreads of the values, and whether chance alone does that.

The shift of a mean is measured in standard deviations, pooled over both dates; of a vector, in those of all dimensions
together. Two samples of the same clips differ by sqrt(1/n + 1/m) of that, so a shift below twice as much is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

_TINY = 1e-12
_MEDIUM, _LARGE = 0.5, 0.8  # Cohen (1988)
_TIMES_CHANCE = 2.0


class Drift(StrEnum):
    """What a shift is called."""

    NONE = "none"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How far something moved."""

    effect: float  # in pooled spreads; infinite where two dates are constant and differ
    chance: float  # what two samples of one whole differ by
    drift: Drift


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """One feature or signal on two dates."""

    name: str
    kind: str  # "feature", "signal"
    before: str  # what it was, for people
    now: str
    shift: Shift
    num_before: int
    num_now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftShown:
    """A date against the last one before it that has clips."""

    before: str
    now: str
    rows: tuple[DriftRow, ...]
    asked: str = ""  # the date of the page, where it has no clips itself

    def sentence(self) -> str:
        """Return the answer."""
        return f"{self.asked} has no clips; before it, {self._answer()}" if self.asked else self._answer()

    def _answer(self) -> str:
        moved = [row.name for row in self.rows if row.shift.drift in (Drift.MEDIUM, Drift.LARGE)]
        if not moved:
            return f"{self.now} looks like {self.before}: nothing moved by half a spread or more."
        more = f" and {len(moved) - 4} more" if len(moved) > 4 else ""
        return f"{self.now} differs from {self.before} in {', '.join(moved[:4])}{more}."


def shift_of(before: np.ndarray, now: np.ndarray) -> Shift | None:
    """Compare samples [N] or [N, D]; None where one of them is too small to have a spread."""
    old_ND, new_ND = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (before, now))
    if min(len(old_ND), len(new_ND)) < 2:
        return None
    spread = math.sqrt(float((old_ND.var(axis=0, ddof=1) + new_ND.var(axis=0, ddof=1)).sum()) / 2)
    moved = float(np.linalg.norm(new_ND.mean(axis=0) - old_ND.mean(axis=0)))
    effect = moved / spread if spread > _TINY else (0.0 if moved <= _TINY else math.inf)
    chance = math.sqrt(1 / len(old_ND) + 1 / len(new_ND))
    return Shift(effect=effect, chance=chance, drift=drift_of(effect, chance))


def drift_of(effect: float, chance: float) -> Drift:
    """Return the word for a shift."""
    if effect < _TIMES_CHANCE * chance:
        return Drift.NONE
    return Drift.LARGE if effect >= _LARGE else Drift.MEDIUM if effect >= _MEDIUM else Drift.SMALL
