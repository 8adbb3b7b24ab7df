"""The ledger as tasks."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from mmpipe.config import Config
from mmpipe.steps import plan
from mmpipe.steps.plan import Only, Plan, ShardState, State
from tasks.policy import STEP

__all__ = ["Only", "Plan", "ShardState", "State", "plan_corpus", "read_states"]


@task(name="plan", task_run_name="plan-{corpus}", **STEP)
def plan_corpus(config: Config, corpus: str, dts: Sequence[str] | None, only: Only = Only.DUE) -> Plan:
    """Say which shards are due, and why; None means every date."""
    if not config.store.exists():
        return Plan(corpus=corpus, shards=())  # a store that was never made: every date is unknown
    return plan.plan_corpus(config, corpus, dts, only)


@task(name="ledger", task_run_name="ledger-{corpus}", **STEP)
def read_states(config: Config, corpus: str, dts: Sequence[str]) -> tuple[ShardState, ...]:
    """Return the state of every shard x feature of the dates."""
    return plan.read_states(config, corpus, dts) if config.store.exists() else ()
