"""Extraction as a flow of its own, and the part of it that other flows share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.futures import wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.life import refuse_endless_starts
from flows.naming import run_name
from flows.parameters import ExtractParameters
from flows.target import resolve_target
from mmpipe.config import Config
from tasks.artifacts import RunPage, run_page
from tasks.commit import commit_dates, commit_tasks
from tasks.extract import extract_shards, tell_speed
from tasks.plan import MAX_BATCHES, Choice, Plan, plan_corpus
from tasks.wait import wait_for_others, waiting_line
from tasks.workers import shared_workers

DEFAULTS = ExtractParameters()
# Two batches in flight; the threads only wait: the pool of worker processes that they share does the work.
BATCH_RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=2)
LEFT_BATCHES = 30  # of what others were making: most of it they have made by then, and it is only to be committed


@flow(
    name="extract",
    flow_run_name=run_name,
    task_runner=BATCH_RUNNER,
    persist_result=False,
)
def extract(parameters: ExtractParameters = DEFAULTS) -> None:
    """Make the features that one date is due, or all dates."""
    refuse_endless_starts()
    target = resolve_target(parameters)
    dts = None if parameters.all_dates else (target.dt,)
    with run_page("extract", target.corpus) as page, shared_workers(target.config):
        make_features(target.config, target.corpus, dts, page, parameters.choice, parameters.batch_clips)


def make_features(
    config: Config, corpus: str, dts: Sequence[str] | None, page: RunPage, choice: Choice, batch_clips: int
) -> None:
    """Plan, extract in batches, commit, until nothing is left; None means every date.

    What another run is making is waited for, and made here where that run did not finish it.
    """
    plan, most = plan_corpus(config, corpus, dts, choice), MAX_BATCHES
    while held := make_planned(config, plan, page, batch_clips, most):
        page.note("waiting", waiting_line(held))
        wait_for_others(config, corpus, held)
        plan = plan_corpus(config, corpus, dts, choice).of_places(held)
        most = LEFT_BATCHES


def make_planned(config: Config, plan: Plan, page: RunPage, batch_clips: int, most: int) -> dict[tuple[str, int], str]:
    """Extract in batches and commit; return what others are making, and who.

    A failed batch keeps no other from being committed.
    """
    corpus = plan.corpus
    page.note("plan", f"{len(plan.shards)} shards are due.")
    page.bars.expect("extract", sum(due.clips for due in plan.shards))
    dealt = plan.batches(batch_clips, most)
    batches = [
        extract_shards.submit(config, corpus, batch, number, len(dealt)) for number, batch in enumerate(dealt, 1)
    ]
    wait(batches)
    for some in commit_tasks(plan.partitions):
        page.add("commit", commit_dates(config, corpus, some))
    reports = []
    for batch in batches:
        reports.append(batch.result())
        page.add("extract", reports[-1])
    if speed := tell_speed(reports):
        page.note("speed", speed)
    return {**plan.running_places, **{place: who for report in reports for place, who in report.held.items()}}
