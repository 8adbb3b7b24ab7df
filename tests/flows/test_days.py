"""What a backfill takes up, skips and shows."""

from __future__ import annotations

from flows.days import DayEnd, days_table, days_to_fill
from flows.runs import Run
from tasks.plan import DayDue, ShardState, State

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


def run(dt: str, number: int, state: str) -> Run:
    over = state != "Running"
    return Run(
        id=f"{dt}#{number}", subject=dt, number=number, state=state, is_over=over, is_complete=state == "Completed"
    )


def test_what_is_due_is_filled_and_what_ended_badly_before_is_tried_again() -> None:
    due = (DayDue(dt="2026-11-02", shards=3), DayDue(dt="2026-11-03", new_files="files were added"))
    assert days_to_fill(DTS, due, (), takes_new_files=True) == {"2026-11-02": False, "2026-11-03": True}
    earlier = (
        run("2026-11-01", 1, "Failed"),
        run("2026-11-01", 0, "Completed"),
        run("2026-11-02", 0, "Failed"),
        run("2026-11-02", 1, "Completed"),
    )
    again = days_to_fill(DTS, due, earlier, takes_new_files=True)
    assert again == {"2026-11-01": True, "2026-11-02": False, "2026-11-03": True}
    assert days_to_fill(DTS, (), earlier, takes_new_files=False) == {"2026-11-01": False}
    assert days_to_fill(DTS, (), (run("2026-11-01", 0, "Running"),), takes_new_files=True) == {}


def test_the_table_is_day_by_feature_and_what_was_skipped_comes_last() -> None:
    ends = {"2026-11-02": DayEnd(run="Failed", detail="no room", is_well=False)}
    assert days_table(DTS, STATES, ends) == [
        {"dt": "2026-11-02", "run": "Failed", "a@1": "2 missing, 1 stale", "b@1": "no clips", "detail": "no room"},
        {"dt": "2026-11-01", "run": "skipped", "a@1": "complete", "b@1": "complete", "detail": ""},
        {"dt": "2026-11-03", "run": "skipped", "a@1": "no clips", "b@1": "no clips", "detail": ""},
    ]
