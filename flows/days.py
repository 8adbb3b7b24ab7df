"""What a backfill decides, shows and says about its days: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.runs import Run
from tasks.plan import SKIPPED, DayDue, DayStanding, feature_columns, standing_notes


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


def days_table(standing: Iterable[DayStanding], ends: Mapping[str, DayEnd]) -> list[dict[str, str]]:
    """Return one row a date: what its run came to, the state of every feature, and what is put aside.

    First what had something due, then what nothing was done for although it is not whole, then what is.
    """
    days = sorted(standing, key=lambda day: (day.dt not in ends, day.dt not in ends and day.word == SKIPPED, day.dt))
    features = feature_columns(days)
    return [
        {"dt": day.dt, "run": ends[day.dt].run if day.dt in ends else day.word}
        | day.cells(features)
        | {"detail": ends[day.dt].detail if day.dt in ends else ""}
        for day in days
    ]


def end_of_days(corpus: str, standing: Sequence[DayStanding], ends: Mapping[str, DayEnd]) -> State[Any]:
    """Fail where a day failed, naming the days; else complete. Either way say what stands against the days."""
    failed = [dt for dt, end in ends.items() if not end.is_well]
    left = Counter(day.word for day in standing if day.dt not in ends)
    if failed:
        told = [f"{len(failed)} of {len(standing)} days failed: {', '.join(failed)}; {left_over(left)}"]
    else:
        told = [f"{len(ends)} {'day' if len(ends) == 1 else 'days'} filled, {left_over(left)}"]
    message = "; ".join((*told, *standing_notes(corpus, standing)))
    return Failed(message=message) if failed else Completed(message=message)


def end_of_dry_run(corpus: str, standing: Sequence[DayStanding], ends: Mapping[str, DayEnd]) -> State[Any]:
    """Say how many days would run, and what stands against the others."""
    told = f"dry run: {len(ends)} of {len(standing)} days would run"
    others = [day for day in standing if day.dt not in ends]
    return Completed(message="; ".join((told, *standing_notes(corpus, others))))


def left_over(left: Mapping[str, int]) -> str:
    """Say how many days had nothing to be done, and how those of them stand that are not whole."""
    words = (SKIPPED, *sorted(left.keys() - {SKIPPED}))
    return ", ".join(f"{left.get(word, 0)} {word}" for word in words)
