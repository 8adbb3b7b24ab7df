"""Extraction beside others who make some of the same shards: first what is free, then what they have left undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace

from mmpipe.config import Config
from mmpipe.steps.extract.commit import CommitReport
from mmpipe.steps.extract.extract import ExtractReport, extract_free
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.plan.patience import Patience, wait_for_others, waiting_line
from mmpipe.steps.plan.plan import Plan, State, raise_if_running, read_states
from mmpipe.store.claims import Place

Made = tuple[ExtractReport, CommitReport]
Values = set[tuple[str, int, str]]  # (partition, shard, feature)


def extract_beside_others(
    config: Config, plan: Plan, plan_again: Callable[[], Plan], patience: Patience, progress: Progress = SILENT
) -> Made:
    """Make and commit what a plan names; for what others make wait, and make what of it they did not finish.

    HeldError, after all the rest is committed: they have kept all of it for as long as the patience lasts.
    """
    patience, undone = patience.of_run(), _undone(plan)
    made = extract_free(config, plan, progress)
    while held := made[0].held:
        if patience.is_over:
            raise_if_running(held, made[0])
        patience.tell(waiting_line(held))
        undone |= _states(config, plan.corpus, held, State.RUNNING)
        wait_for_others(config, plan.corpus, held, patience)
        left = _without_made(config, plan_again().of_places(held), undone)
        undone |= _undone(left)
        made = _joined(made, extract_free(config, left, progress))
    return made


def _undone(plan: Plan) -> Values:
    """Return what others were making when it was planned, and had not finished."""
    return {(state.partition, state.shard, state.feature) for state in plan.running}


def _without_made(config: Config, plan: Plan, undone: Values) -> Plan:
    """Leave out what others have finished since it was seen undone: a plan that takes all anew would make it twice."""
    places = [(due.partition, due.shard) for due in plan.shards]
    made = undone & _states(config, plan.corpus, places, State.COMPLETE)
    return replace(plan, shards=tuple(left for due in plan.shards if (left := due.without(made)).features))


def _states(config: Config, corpus: str, places: Collection[Place], wanted: State) -> Values:
    """Return what is in a state, of some places."""
    dates = sorted({partition for partition, _ in places})
    return {
        (state.partition, state.shard, state.feature)
        for state in (read_states(config, corpus, dates) if dates else ())
        if state.state is wanted and (state.partition, state.shard) in places
    }


def _joined(first: Made, then: Made) -> Made:
    """Add up two rounds; what others hold, and what a date holds, is as the second has it."""
    extracted = first[0]
    counts = {(count.partition, count.feature): count for _, made in (first, then) for count in made.features}
    return (
        replace(
            then[0],
            shards=extracted.shards + then[0].shards,
            computed=extracted.computed + then[0].computed,
            reused=extracted.reused + then[0].reused,
            quarantined=Counter(extracted.quarantined) + Counter(then[0].quarantined),
            seconds=extracted.seconds + then[0].seconds,
            meters=extracted.meters + then[0].meters,
            devices=then[0].devices or extracted.devices,
            speed=extracted.speed or then[0].speed,
            failed=extracted.failed + then[0].failed,
        ),
        CommitReport(corpus=first[1].corpus, features=tuple(counts.values())),
    )
