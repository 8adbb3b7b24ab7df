"""What the stages of a store took and how they ended, added up for good: a night is a short process."""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from mmpipe.io import canonical_json
from mmpipe.watch.stage import Ending, StageEnd, StageRun

BOUNDS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0)  # of the classes of durations
_NAME, _LOCK = "stages.json", "stages.lock"
_LOCK_TIMEOUT_S = 2.0  # a stage waits no longer for its place in a statistic


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTotals:
    """All runs of one stage of one corpus or model."""

    stage: str
    corpus: str = ""
    model: str = ""
    completed: int = 0
    failed: int = 0
    aborted: int = 0
    seconds: float = 0.0  # of all that ended
    classes: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)  # runs whose duration is in each class, the last is open
    last_end_s: float = 0.0  # Unix time
    last_success_s: float = 0.0  # 0: never

    def plus(self, end: StageEnd) -> StageTotals:
        """Return the totals with one more run."""
        number = bisect_left(BOUNDS_S, end.seconds)
        ended_s = end.ended.timestamp()
        return replace(
            self,
            completed=self.completed + (end.ending is Ending.COMPLETED),
            failed=self.failed + (end.ending is Ending.FAILED),
            aborted=self.aborted + (end.ending is Ending.ABORTED),
            seconds=self.seconds + end.seconds,
            classes=tuple(count + (place == number) for place, count in enumerate(self.classes)),
            last_end_s=max(self.last_end_s, ended_s),
            last_success_s=max(self.last_success_s, ended_s if end.ending is Ending.COMPLETED else 0.0),
        )


class TotalsListener:
    """Adds every stage that ends to the totals in a folder, beside other processes that do the same.

    Where there is no store yet, none is made for it.
    """

    wants_tables = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, run: StageRun) -> None:
        """Wait for its end."""

    def end(self, run: StageRun, end: StageEnd) -> None:
        """Add it."""
        if not self._folder.parent.parent.is_dir():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / _LOCK, timeout=_LOCK_TIMEOUT_S):
            totals = {_key(one): one for one in read_totals(self._folder)}
            new = StageTotals(stage=run.stage, corpus=run.corpus, model=run.model)
            totals[_key(new)] = totals.get(_key(new), new).plus(end)
            write_totals(self._folder, totals.values())


def read_totals(folder: Path) -> tuple[StageTotals, ...]:
    """Return the totals in a folder; none where there are none, or they cannot be read: they are counted anew then."""
    try:
        return tuple(_parse(row) for row in json.loads((folder / _NAME).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def write_totals(folder: Path, totals: Iterable[StageTotals]) -> None:
    """Put totals in place of those in a folder; by the holder of its lock. No fsync: it is a statistic."""
    temporary = folder / f".{_NAME}.tmp"
    temporary.write_bytes(canonical_json([asdict(one) for one in sorted(totals, key=_key)]))
    os.replace(temporary, folder / _NAME)


def _key(totals: StageTotals) -> tuple[str, str, str]:
    return totals.stage, totals.corpus, totals.model


def _parse(row: dict[str, object]) -> StageTotals:
    classes = row["classes"]
    if not isinstance(classes, list) or len(classes) != len(BOUNDS_S) + 1:
        raise ValueError("other classes of durations")
    return StageTotals(**{**row, "classes": tuple(map(int, classes))})  # type: ignore[arg-type]
