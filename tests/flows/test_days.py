"""What a backfill takes up, skips and shows."""

from __future__ import annotations

import pytest

from flows.days import days_table, days_to_do
from tasks.plan import Only, ShardState, State

DTS = ("2026-11-01", "2026-11-02", "2026-11-03")


def state(dt: str, shard: int, feature: str, state: State) -> ShardState:
    return ShardState(
        partition=dt,
        shard=shard,
        feature=feature,
        state=state,
        reason="",
        clips=2,
        samples=2,
        quarantined=0,
        inputs="",
    )


STATES = (
    state("2026-11-01", 0, "a@1", State.COMPLETE),
    state("2026-11-01", 0, "b@1", State.COMPLETE),
    state("2026-11-02", 0, "a@1", State.STALE),
    state("2026-11-02", 1, "a@1", State.MISSING),
    state("2026-11-02", 2, "a@1", State.MISSING),
)


@pytest.mark.parametrize(
    ("only", "due", "days"),
    [
        (Only.DUE, {"2026-11-02"}, ("2026-11-02", "2026-11-03")),
        (Only.STALE, {"2026-11-02"}, ("2026-11-02",)),
        (Only.FAILED, set(), ()),
        (Only.ALL, {"2026-11-01", "2026-11-02"}, DTS),
    ],
)
def test_complete_days_are_skipped_and_unknown_ones_taken_where_asked(
    only: Only, due: set[str], days: tuple[str, ...]
) -> None:
    assert days_to_do(DTS, STATES, due, only) == days


def test_the_table_is_day_by_feature() -> None:
    assert days_table(DTS, STATES, {"2026-11-02": "Completed"}) == [
        {"dt": "2026-11-01", "run": "skipped", "a@1": "complete", "b@1": "complete"},
        {"dt": "2026-11-02", "run": "Completed", "a@1": "2 missing, 1 stale", "b@1": "no clips"},
        {"dt": "2026-11-03", "run": "skipped", "a@1": "no clips", "b@1": "no clips"},
    ]
