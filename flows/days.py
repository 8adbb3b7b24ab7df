"""What a backfill decides and shows about its days: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from tasks.plan import Only, ShardState, State

NO_CLIPS = "no clips"
# A date without clips has no shards to judge: it was never ingested, or nothing belongs to it.
_TAKES_UNKNOWN_DAYS = frozenset({Only.DUE, Only.MISSING, Only.ALL})


def takes_unknown_days(only: Only) -> bool:
    """Say whether a choice of shards includes the dates that were never ingested."""
    return only in _TAKES_UNKNOWN_DAYS


def days_to_do(dts: Sequence[str], states: Iterable[ShardState], due: Collection[str], only: Only) -> tuple[str, ...]:
    """Return the dates with something due, and those never ingested where the choice includes them."""
    known = {state.partition for state in states}
    return tuple(dt for dt in dts if dt in due or (dt not in known and takes_unknown_days(only)))


def days_table(dts: Sequence[str], states: Iterable[ShardState], runs: Mapping[str, str]) -> list[dict[str, str]]:
    """Return one row a date: what its run came to, and the state of every feature."""
    counts: dict[tuple[str, str], Counter[State]] = {}
    for state in states:
        counts.setdefault((state.partition, state.feature), Counter())[state.state] += 1
    features = sorted({feature for _, feature in counts})
    return [
        {"dt": dt, "run": runs.get(dt, "skipped")}
        | {feature: _cell(counts.get((dt, feature), Counter())) for feature in features}
        for dt in dts
    ]


def _cell(counts: Counter[State]) -> str:
    """Say "complete", or how many shards are what."""
    if not counts:
        return NO_CLIPS
    if set(counts) == {State.COMPLETE}:
        return str(State.COMPLETE)
    return ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
