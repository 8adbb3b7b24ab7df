"""The tables of a run's page: the same columns on every night, so that two nights can be laid side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.ground.markdown import plain_cell
from mmpipe.steps.plan.plan import ShardState, State
from mmpipe.steps.plan.standing import state_cell
from mmpipe.steps.release.release import ReleaseReport

FUSED = "fused"
_NAMES = ("contender", "kind", "chosen", "validation", "low", "high", "macro F1", "calibration error")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShown:
    """One batch of shards: what was asked for, and what became of it."""

    batch: str  # "3 of 40"
    shards: int
    made: int
    failed: int
    held: int  # by other runs, which make them
    computed: int  # values
    reused: int
    quarantined: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderShown:
    """One contender of a model, as the gate saw it."""

    model: str
    contender: str
    kind: str
    chosen: str
    measure: str
    value: float
    low: float
    high: float
    verdict: str  # beside the one that the gate judged
    validation: float
    version: str


def batch_shown(number: int, of: int, shards: int, report: ExtractReport) -> BatchShown:
    """Return the row of a batch."""
    return BatchShown(
        batch=f"{number} of {of}",
        shards=shards,
        made=report.shards,
        failed=report.failed,
        held=len(report.held),
        computed=report.computed,
        reused=report.reused,
        quarantined=sum(report.quarantined.values()),
        seconds=round(report.seconds, 1),
    )


def evaluation_shown(report: ReleaseReport) -> list[ContenderShown]:
    """Return a row per contender, with the interval of its worth and the gate's word."""
    has_fused = any(row["kind"] == FUSED for row in report.rows)
    return [_contender(report, row, row["chosen"] and (row["kind"] == FUSED) is has_fused) for row in report.rows]


def _contender(report: ReleaseReport, row: Mapping[str, Any], is_judged: bool) -> ContenderShown:
    measure = next((name for name in row if name not in _NAMES), "")  # the one column that every goal names itself
    return ContenderShown(
        model=report.model,
        contender=row["contender"],
        kind=row["kind"],
        chosen=row["chosen"],
        measure=measure,
        value=row.get(measure, 0.0),
        low=row["low"],
        high=row["high"],
        verdict=report.status if is_judged else "",
        validation=row["validation"],
        version=report.version,
    )


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its texts made plain, for names of strangers' files: the UI reads Markdown in the cells."""
    return {name: plain_cell(value) if isinstance(value, str) else value for name, value in row.items()}


def ledger_rows(states: Iterable[ShardState]) -> list[dict[str, str]]:
    """Return one row a date, the newest first: the state of every feature."""
    counts: dict[tuple[str, str], Counter[State]] = {}
    for state in states:
        counts.setdefault((state.partition, state.feature), Counter())[state.state] += 1
    features = sorted({feature for _, feature in counts})
    return [
        {"dt": dt} | {feature: state_cell(counts.get((dt, feature), {})) for feature in features}
        for dt in sorted({dt for dt, _ in counts}, reverse=True)
    ]


def rectangular(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give every row the columns of all: the UI takes the header from the first."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column, "") for column in columns} for row in rows]
