"""The ledger as tasks."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from mmpipe.config import Config
from mmpipe.steps.night import backfill_plan
from mmpipe.steps.night.backfill_plan import Choice, DayDue
from mmpipe.steps.plan import standing
from mmpipe.steps.plan.choices import MAX_DAYS, MAX_IN_FLIGHT
from mmpipe.steps.plan.plan import MAX_BATCHES, Only, Plan, ShardState, State
from mmpipe.steps.plan.standing import SKIPPED, DayStanding, feature_columns, standing_notes
from tasks.events import tell_of_drift
from tasks.policy import STEP

__all__ = [
    "MAX_BATCHES",
    "MAX_DAYS",
    "MAX_IN_FLIGHT",
    "SKIPPED",
    "Choice",
    "DayDue",
    "DayStanding",
    "Only",
    "Plan",
    "ShardState",
    "State",
    "feature_columns",
    "plan_backfill",
    "plan_corpus",
    "read_standing",
    "standing_notes",
]


@task(name="plan", task_run_name="plan-{corpus}", **STEP)
def plan_corpus(config: Config, corpus: str, dts: Sequence[str] | None, choice: Choice) -> Plan:
    """Say which shards are due, and why; None means every date."""
    made = backfill_plan.plan_choice(config, corpus, dts, choice)
    tell_of_drift(corpus, made.held_by_feature)
    return made


@task(name="plan-backfill", task_run_name="plan-backfill-{corpus}", **STEP)
def plan_backfill(config: Config, corpus: str, dts: Sequence[str], choice: Choice, refresh: bool) -> tuple[DayDue, ...]:
    """Return the dates that have something to do, and what; `refresh` brings the files of a far corpus here first."""
    return backfill_plan.plan_backfill(config, corpus, dts, choice, refresh=refresh)


@task(name="ledger", task_run_name="ledger-{corpus}", **STEP)
def read_standing(
    config: Config, corpus: str, dts: Sequence[str], features: Sequence[str] = ()
) -> tuple[DayStanding, ...]:
    """Return how the dates stand against the config of today, a value each."""
    return standing.read_standing(config, corpus, dts, features)
