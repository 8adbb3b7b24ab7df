"""What a backfill decides and shows about its days: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flows.runs import Run
from tasks.page.tables import count_states, state_cells
from tasks.plan import DayDue, ShardState

SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEnd:
    """What became of a day that had something due."""

    run: str  # the state of its run, as the UI shows it
    detail: str = ""
    is_well: bool = True


def days_to_fill(
    dts: Sequence[str], due: Iterable[DayDue], earlier: Iterable[Run], *, takes_new_files: bool
) -> dict[str, bool]:
    """Return the dates to fill, in order, and whether each takes in new files first.

    A day that ended badly in an earlier life of the backfill is tried again, whatever the ledger says: too much in
    quarantine is nothing that is due, and yet no good end.
    """
    ingests = {day.dt: bool(day.new_files) for day in due}
    last = {run.subject: run for run in sorted(earlier, key=lambda run: run.number)}
    ingests |= {dt: takes_new_files for dt, run in last.items() if run.is_over and not run.is_complete}
    return {dt: ingests[dt] for dt in dts if dt in ingests}


def days_table(dts: Sequence[str], states: Iterable[ShardState], ends: Mapping[str, DayEnd]) -> list[dict[str, str]]:
    """Return one row a date: what its run came to, and the state of every feature; what was skipped comes last."""
    counts = count_states(states)
    features = sorted({feature for _, feature in counts})
    return [
        {"dt": dt, "run": ends[dt].run if dt in ends else SKIPPED}
        | state_cells(counts, dt, features)
        | {"detail": ends[dt].detail if dt in ends else ""}
        for dt in sorted(dts, key=lambda dt: (dt not in ends, dt))
    ]
