"""What a backfill and a night ask of their children, and how they end; no server."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from flows.backfill import day_child, fill_by_runs
from flows.days import DayEnd, end_of_days
from flows.life import MOST_STARTS, refuse_endless_starts
from flows.made_runs import MadeRuns
from flows.nightly import checkpoint_of, require_complete, train_by_runs
from flows.parameters import BackfillDayParameters, BackfillParameters, NightlyParameters
from flows.runs import Run
from flows.target import Target
from mmpipe.config import Config
from mmpipe.errors import ShardError
from mmpipe.steps.plan.plan import ShardDue
from tasks.artifacts import run_page
from tasks.commit import MAX_COMMITS, commit_tasks
from tasks.page.door import KeptArtifacts
from tasks.plan import MAX_BATCHES, DayDue, DayStanding, Only, Plan

DAYS = ("2026-11-01", "2026-11-02", "2026-11-03")
WISH = BackfillParameters(
    config="mm.toml",
    first_date=datetime.date(2026, 11, 1),
    last_date=datetime.date(2026, 11, 3),
    only=Only.ALL,
    features=["audio-logmel"],
    max_in_flight=2,
    batch_clips=7,
)


def fill(runs: MadeRuns, due: tuple[DayDue, ...]) -> dict[str, DayEnd]:
    with run_page("backfill", "tones", door=KeptArtifacts()) as page:
        return fill_by_runs(WISH, "tones", due, runs, page)


def test_each_day_that_is_due_is_a_run_of_its_own_which_is_told_all_that_was_asked_for() -> None:
    runs = MadeRuns()
    due = (DayDue(dt=DAYS[0], new_files="files were added"), DayDue(dt=DAYS[2], shards=4))
    ends = fill(runs, due)
    assert ends == {DAYS[0]: DayEnd(run="Completed"), DAYS[2]: DayEnd(run="Completed")}
    told = list(runs.told.values())
    assert [(child.subject, child.deployment, child.queue) for child in told] == [
        (dt, "backfill-day/backfill-day", "corpus-tones") for dt in (DAYS[0], DAYS[2])
    ]
    assert told[1].parameters == BackfillDayParameters(
        config="mm.toml",
        corpus="tones",
        date=datetime.date(2026, 11, 3),
        only=Only.ALL,
        features=["audio-logmel"],
        batch_clips=7,
        ingest=False,
    )
    assert told[0].parameters == day_child(WISH, "tones", DAYS[0], ingest=True).parameters


def test_nothing_due_starts_nothing() -> None:
    runs = MadeRuns()
    assert fill(runs, ()) == {} and runs.children() == ()


def test_a_later_life_tells_the_ends_of_all_its_lives() -> None:
    runs = MadeRuns(lambda dt, number: "Failed" if (dt, number) == (DAYS[1], 0) else "Completed")
    due = tuple(DayDue(dt=dt, shards=1) for dt in DAYS)
    first = fill(runs, due)
    standing = [DayStanding(dt=dt) for dt in DAYS]
    assert end_of_days("tones", standing, first).message == f"1 of 3 days failed: {DAYS[1]}; 0 skipped"
    assert first[DAYS[1]].detail == f"{DAYS[1]} has ended"
    second = fill(runs, ())  # the ledger has nothing against that day, and yet it did not end well
    assert end_of_days("tones", standing, second).message == "3 days filled, 0 skipped"
    assert len(runs.children()) == 4


def test_a_night_trains_its_models_beside_each_other_and_finds_the_checkpoints() -> None:
    runs = MadeRuns(leaves=lambda subject: f"{subject}-0123" if "av" in subject else "")
    target = Target(config=Config.model_construct(), corpus="tones", dt=DAYS[0])
    trained = train_by_runs(target, NightlyParameters(config="mm.toml"), ("av", "text"), runs)
    assert checkpoint_of(trained["av"]) == "train-av-0123"
    with pytest.raises(ShardError, match=r"'train-text' ended well and left no checkpoint.*Retry this run"):
        checkpoint_of(trained["text"])
    assert [child.deployment for child in runs.told.values()] == ["train/train", "train/train"]
    assert train_by_runs(target, NightlyParameters(), (), runs) == {}
    with pytest.raises(ShardError, match="ended as Failed"):
        checkpoint_of(replace(trained["av"], state="Failed", is_complete=False))


def test_a_child_that_did_not_end_well_is_said_with_its_reason_and_the_way_out() -> None:
    bad = Run(id="1", subject="extract", number=0, state="Failed", message="no room on the disk", is_over=True)
    with pytest.raises(ShardError, match=r"'extract' ended as Failed: no room on the disk\. .* retry this run"):
        require_complete(bad)


def test_a_run_that_was_started_too_often_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(MOST_STARTS))
    refuse_endless_starts()
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(MOST_STARTS + 1))
    with pytest.raises(ShardError, match=r"started 6 times, allowed are 5.*start a new run"):
        refuse_endless_starts()


@pytest.mark.parametrize(
    ("shards", "clips", "dates"), [(10_000, 512, 1), (10_000, 3, 400), (151, 2_000, 151), (9, 1, 9)]
)
def test_a_night_of_many_shards_and_dates_has_two_hundred_task_runs_at_most(
    shards: int, clips: int, dates: int
) -> None:
    plan = Plan(
        corpus="tones",
        shards=tuple(
            ShardDue(
                partition=f"d{number % dates:03d}",
                shard=number,
                features=("a@1",),
                reasons=("",),
                clips=clips + number % 5,
            )
            for number in range(shards)
        ),
    )
    batches, commits = plan.batches(1), commit_tasks(plan.partitions)
    assert [due for batch in batches for due in batch] == list(plan.shards)
    assert [dt for some in commits for dt in some] == list(plan.partitions)
    assert len(batches) <= MAX_BATCHES and len(commits) <= MAX_COMMITS and MAX_BATCHES + MAX_COMMITS <= 190
    assert len(batches) >= min(shards, MAX_BATCHES // 2), "no larger than they must be"


def test_no_date_has_no_commit() -> None:
    assert commit_tasks(()) == ()
