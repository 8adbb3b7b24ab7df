"""What a backfill takes up, skips and shows."""

from __future__ import annotations

from flows.days import DayEnd, days_table, days_to_fill, end_of_days, end_of_dry_run
from flows.runs import Run
from tasks.plan import DayDue, DayStanding, State

DTS = ("2026-11-01", "2026-11-02", "2026-11-03")


WHOLE = DayStanding(
    dt="2026-11-01",
    features={"a@1": {State.COMPLETE: 1}, "b@1": {State.COMPLETE: 1}},
    shards={State.COMPLETE: 1},
)
BEHIND = DayStanding(
    dt="2026-11-02", features={"a@1": {State.STALE: 1, State.MISSING: 2}}, shards={State.STALE: 1, State.MISSING: 2}
)
FAILED = DayStanding(
    dt="2026-11-03",
    features={"a@1": {State.FAILED: 1}},
    shards={State.FAILED: 1},
    failed_clips=2,
    quarantined={"too_long": 2, "not_media": 1},
)
BAD_FILES = DayStanding(dt="2026-11-04", quarantined={"not_media": 3})


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


def test_the_table_is_day_by_feature_with_what_ran_first_and_what_is_whole_last() -> None:
    ends = {"2026-11-02": DayEnd(run="Failed", detail="no room", is_well=False)}
    none = {"a@1": "no clips", "b@1": "no clips"}
    assert days_table([WHOLE, BEHIND, FAILED, BAD_FILES], ends) == [
        {"dt": "2026-11-02", "run": "Failed", **none, "a@1": "2 missing, 1 stale"}
        | {"failed": "", "quarantined": "", "detail": "no room"},
        {"dt": "2026-11-03", "run": "incomplete", **none, "a@1": "1 failed"}
        | {"failed": "1 shard, 2 clips", "quarantined": "2 too_long, 1 not_media", "detail": ""},
        {"dt": "2026-11-04", "run": "in quarantine", **none}
        | {"failed": "", "quarantined": "3 not_media", "detail": ""},
        {"dt": "2026-11-01", "run": "skipped", "a@1": "complete", "b@1": "complete"}
        | {"failed": "", "quarantined": "", "detail": ""},
    ]


def test_the_end_tells_what_was_done_what_stands_and_the_ways_out() -> None:
    days = [WHOLE, FAILED, BAD_FILES]
    end = end_of_days("tones", days, {})
    assert (end.type, end.message) == (
        "COMPLETED",
        "0 days filled, 1 skipped, 1 in quarantine, 1 incomplete; "
        "2 days have 6 things in quarantine (4 not_media, 2 too_long): mmpipe quarantine ls --corpus tones; "
        "1 day has 1 failed shard (2 clips): only=failed takes it up",
    )
    bad = end_of_days("tones", [WHOLE, BAD_FILES], {"2026-11-04": DayEnd(run="Failed", is_well=False)})
    assert (bad.type, bad.message) == (
        "FAILED",
        "1 of 2 days failed: 2026-11-04; 1 skipped; 1 day has 3 things in quarantine (3 not_media): "
        "mmpipe quarantine ls --corpus tones --dt 2026-11-04",
    )


def test_a_dry_run_tells_only_of_the_days_that_would_stay_as_they_are() -> None:
    end = end_of_dry_run("tones", [BEHIND, FAILED, WHOLE], {"2026-11-02": DayEnd(run="would run")})
    assert end.message is not None and end.message.startswith("dry run: 1 of 3 days would run; 1 day has 3 things")
    assert "missing" not in end.message
