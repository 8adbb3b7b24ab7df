"""Extraction as a flow of its own, and the part of it that other flows share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.futures import wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.naming import run_name
from flows.parameters import ExtractParameters
from flows.target import resolve_target
from mmpipe.config import Config
from tasks.artifacts import RunPage, run_page
from tasks.extract import commit_features, extract_shards, tell_speed
from tasks.plan import Only, plan_corpus
from tasks.workers import shared_workers

DEFAULTS = ExtractParameters()
# Two batches in flight; the threads only wait: the pool of worker processes that they share does the work.
BATCH_RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=2)


@flow(
    name="extract",
    flow_run_name=run_name,
    task_runner=BATCH_RUNNER,
    persist_result=False,
)
def extract(parameters: ExtractParameters = DEFAULTS) -> None:
    """Make the features that one date is due."""
    target = resolve_target(parameters)
    with run_page("extract", target.corpus) as page, shared_workers(target.config):
        make_features(target.config, target.corpus, (target.dt,), page, parameters.only, parameters.batch_clips)


def make_features(
    config: Config, corpus: str, dts: Sequence[str] | None, page: RunPage, only: Only, batch_clips: int
) -> None:
    """Plan, extract in batches, commit; a failed batch keeps no other from being committed. None means every date."""
    plan = plan_corpus(config, corpus, dts, only)
    page.note("plan", f"{len(plan.shards)} shards are due.")
    batches = [extract_shards.submit(config, corpus, batch) for batch in plan.batches(batch_clips)]
    wait(batches)
    for dt in plan.partitions:
        page.add("commit", commit_features(config, corpus, dt))
    reports = []
    for batch in batches:
        reports.append(batch.result())
        page.add("extract", reports[-1])
    if speed := tell_speed(reports):
        page.note("speed", speed)
    plan.raise_if_running()
