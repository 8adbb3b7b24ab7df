"""How days stand when a backfill is over: what is made, what failed, what is in quarantine, and the ways out."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from mmpipe.config import Config
from mmpipe.steps.plan.choices import Only, State
from mmpipe.steps.plan.clip_filters import FILTER_STAGE
from mmpipe.steps.plan.plan import ShardState, read_states
from mmpipe.store.layout import open_store
from mmpipe.store.quarantine import read_quarantine
from mmpipe.words import counted

NO_CLIPS = "no clips"
SKIPPED, INCOMPLETE, IN_QUARANTINE = "skipped", "incomplete", "in quarantine"
_MOST_REASONS = 3  # named in a sentence; the table has all
_WAYS_OUT = {State.FAILED: Only.FAILED, State.MISSING: Only.MISSING, State.STALE: Only.STALE}


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStanding:
    """One date against the config of today."""

    dt: str
    features: Mapping[str, Mapping[State, int]] = field(default_factory=dict)  # shards of each by state
    shards: Mapping[State, int] = field(default_factory=dict)  # that are so for any feature, but for those held
    held: int = 0  # shards for which a person must decide first: no backfill takes them up
    failed_clips: int = 0  # that a feature could not be made of
    quarantined: Mapping[str, int] = field(default_factory=dict)  # things by reason; what a filter leaves out is none

    @property
    def is_whole(self) -> bool:
        """Say whether every shard of every feature is complete."""
        return self.shards.keys() <= {State.COMPLETE} and not self.held

    @property
    def word(self) -> str:
        """Say in a word how a date stands for which nothing was done."""
        if not self.is_whole:
            return INCOMPLETE
        return IN_QUARANTINE if self.quarantined else SKIPPED

    def cells(self, features: Iterable[str]) -> dict[str, str]:
        """Return the state of every feature, and what is put aside, in words."""
        clips = f", {counted(self.failed_clips, 'clip')}" if self.failed_clips else ""
        failed = self.shards.get(State.FAILED, 0)
        return {feature: state_cell(self.features.get(feature, {})) for feature in features} | {
            "failed": counted(failed, "shard") + clips if failed else "",
            "quarantined": ", ".join(_by_reason(self.quarantined)),
        }


def read_standing(
    config: Config, corpus: str, dts: Sequence[str], features: Sequence[str] = ()
) -> tuple[DayStanding, ...]:
    """Return how some dates stand, a value each, in order; `features` names some, none means all of the corpus."""
    if not dts or not config.store.exists():
        return tuple(DayStanding(dt=dt) for dt in sorted(dts))
    states = read_states(config, corpus, dts, features or None)
    return judge_days(dts, states, read_quarantine(open_store(config.store), corpus, tuple(dts)))


def judge_days(dts: Iterable[str], states: Iterable[ShardState], quarantine: pl.DataFrame) -> tuple[DayStanding, ...]:
    """Return how some dates stand, by the rows of the ledger and of the quarantine."""
    by_date: dict[str, list[ShardState]] = {}
    for state in states:
        by_date.setdefault(state.partition, []).append(state)
    asked = {state.feature for found in by_date.values() for state in found} | {""}
    lost = quarantine.filter(
        ~pl.col("kept") & (pl.col("stage") != FILTER_STAGE) & pl.col("feature").is_in(sorted(asked))
    )
    rows = {str(dt): group for (dt,), group in lost.group_by("partition")}
    return tuple(_judge_day(dt, by_date.get(dt, ()), rows.get(dt, lost.clear())) for dt in sorted(set(dts)))


def _judge_day(dt: str, states: Sequence[ShardState], lost: pl.DataFrame) -> DayStanding:
    features: dict[str, Counter[State]] = {}
    for state in states:
        features.setdefault(state.feature, Counter())[state.state] += 1
    return DayStanding(
        dt=dt,
        features=features,
        shards=Counter(state for _, state in {(state.shard, state.state) for state in states if not state.held}),
        held=len({state.shard for state in states if state.held}),
        failed_clips=lost.filter(pl.col("feature") != "")["clip_key"].n_unique(),
        quarantined=dict(lost.group_by("code").len().sort("len", "code", descending=[True, False]).iter_rows()),
    )


def state_cell(counts: Mapping[State, int]) -> str:
    """Say "complete", or how many shards are what."""
    if not counts:
        return NO_CLIPS
    if set(counts) == {State.COMPLETE}:
        return str(State.COMPLETE)
    return ", ".join(f"{counts[state]} {state}" for state in State if counts.get(state))


def feature_columns(days: Iterable[DayStanding]) -> list[str]:
    """Return the features that any of the dates has."""
    return sorted({feature for day in days for feature in day.features})


def standing_notes(corpus: str, days: Sequence[DayStanding], option: str = "only={}") -> tuple[str, ...]:
    """Say what stands against the dates, a sentence a kind, with its way out; `option` is how `only` is given."""
    return tuple(_notes(corpus, days, option))


def _notes(corpus: str, days: Sequence[DayStanding], option: str) -> Iterator[str]:
    if aside := [day for day in days if day.quarantined]:
        reasons = sum((Counter(day.quarantined) for day in aside), Counter())
        date = f" --dt {aside[0].dt}" if len(aside) == 1 else ""
        yield (
            f"{_have(aside)} {counted(sum(reasons.values()), 'thing')} in quarantine ({_briefly(reasons)}): "
            f"mmpipe quarantine ls --corpus {shlex.quote(corpus)}{date}"
        )
    for state, only in _WAYS_OUT.items():
        if left := [day for day in days if day.shards.get(state)]:
            shards = counted(sum(day.shards[state] for day in left), f"{state} shard")
            num_clips = sum(day.failed_clips for day in left) if state is State.FAILED else 0
            clips = f" ({counted(num_clips, 'clip')})" if num_clips else ""
            yield f"{_have(left)} {shards}{clips}: {option.format(only)} takes {_them(left, state)} up"
    if running := [day for day in days if day.shards.get(State.RUNNING)]:
        shards = counted(sum(day.shards[State.RUNNING] for day in running), "shard")
        yield f"{_have(running)} {shards} that others are making"
    if held := [day for day in days if day.held]:
        shards = counted(sum(day.held for day in held), "shard")
        yield f"{_have(held)} {shards} for which a person must decide first: mmpipe plan --corpus {shlex.quote(corpus)}"


def _have(days: Sequence[DayStanding]) -> str:
    return "1 day has" if len(days) == 1 else f"{len(days)} days have"


def _them(days: Sequence[DayStanding], state: State) -> str:
    return "it" if sum(day.shards[state] for day in days) == 1 else "them"


def _briefly(reasons: Mapping[str, int]) -> str:
    named = _by_reason(dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))))
    more = len(named) - _MOST_REASONS
    return ", ".join(named[:_MOST_REASONS]) + (f" and {counted(more, 'more reason')}" if more > 0 else "")


def _by_reason(reasons: Mapping[str, int]) -> list[str]:
    return [f"{count} {code}" for code, count in reasons.items()]
