"""What is due and why, as values: the shards of the ledger that a night or a person takes up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import HeldError
from mmpipe.features.extractor import feature_name
from mmpipe.steps.plan.causes import with_causes
from mmpipe.steps.plan.choices import Only as Only
from mmpipe.steps.plan.choices import State as State
from mmpipe.steps.plan.feature_set import require_same_shape, resolve_features
from mmpipe.steps.plan.ledger import read_ledger
from mmpipe.steps.plan.model_names import check_model_names
from mmpipe.store.layout import CLIPS, open_store

_STATES_TAKEN = {
    Only.DUE: frozenset({State.MISSING, State.STALE}),
    Only.MISSING: frozenset({State.MISSING}),
    Only.STALE: frozenset({State.STALE}),
    Only.FAILED: frozenset({State.FAILED}),
    Only.ALL: frozenset({State.MISSING, State.STALE, State.FAILED}),
}
MAX_BATCHES = 150  # each is a task run: a flow run of more would burden server and page


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardState:
    """One shard of one feature, against the config."""

    partition: str
    shard: int
    feature: str
    state: State
    reason: str
    clips: int
    samples: int
    quarantined: int
    inputs: str  # the digest that a complete shard must have been made from
    nbytes: int = 0  # of its files
    held: bool = False  # a person must decide first: no plan takes it up


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDue:
    """One shard with the features to make for it: the unit of work and retry."""

    partition: str
    shard: int
    features: tuple[str, ...]
    reasons: tuple[str, ...]  # one per feature
    clips: int
    again: bool = False  # make it anew even where it is committed: a retry
    reuse: bool = True  # False: compute again what is there already
    anew: tuple[str, ...] = ()  # digests of streams whose values are computed again, whatever is reused of others

    def named_reasons(self) -> Iterator[tuple[str, str]]:
        """Yield each feature with why it is due."""
        yield from zip(self.features, self.reasons, strict=True)

    def without(self, made: Collection[tuple[str, int, str]]) -> ShardDue:
        """Return the shard without the features that are in (partition, shard, feature)."""
        left = [
            (name, reason) for name, reason in self.named_reasons() if (self.partition, self.shard, name) not in made
        ]
        return replace(self, features=tuple(name for name, _ in left), reasons=tuple(reason for _, reason in left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would run, and why."""

    corpus: str
    shards: tuple[ShardDue, ...]
    running: tuple[ShardState, ...] = ()  # due too, but somebody is making them: left out
    held: tuple[ShardState, ...] = ()  # another team's files are not as they were pinned: a person decides first

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is due."""
        return not self.shards

    @property
    def running_places(self) -> dict[tuple[str, int], str]:
        """Return the (partition, shard) that somebody else is making, and who."""
        return {(state.partition, state.shard): state.reason for state in self.running}

    @property
    def held_reasons(self) -> tuple[str, ...]:
        """Return what a person must decide before the shards that are held can be made, a line per feature."""
        return tuple(f"{feature} waits: {reason}" for feature, reason in sorted(self.held_by_feature.items()))

    @property
    def held_by_feature(self) -> dict[str, str]:
        """Return for each feature that is held why."""
        return {state.feature: state.reason for state in self.held}

    @property
    def partitions(self) -> tuple[str, ...]:
        """Return the partitions that have something due."""
        return tuple(sorted({due.partition for due in self.shards}))

    def raise_if_running(self) -> None:
        """Raise HeldError where something was left out because somebody is making it."""
        raise_if_running(self.running_places)

    def of_places(self, places: Collection[tuple[str, int]]) -> Plan:
        """Return what of it belongs to some (partition, shard)."""
        return Plan(
            corpus=self.corpus,
            shards=tuple(due for due in self.shards if (due.partition, due.shard) in places),
            running=tuple(state for state in self.running if (state.partition, state.shard) in places),
            held=tuple(state for state in self.held if (state.partition, state.shard) in places),
        )

    def of_date(self, dt: str) -> Plan:
        """Return what of it belongs to one date."""
        return Plan(
            corpus=self.corpus,
            shards=tuple(due for due in self.shards if due.partition == dt),
            running=tuple(state for state in self.running if state.partition == dt),
            held=tuple(state for state in self.held if state.partition == dt),
        )

    def batches(self, clips: int = 2_000, most: int = MAX_BATCHES) -> tuple[tuple[ShardDue, ...], ...]:
        """Deal the shards into runs of about so many clips, or of more where that would be too many runs."""
        dealt = self._deal(clips)
        while len(dealt) > most:  # a run is not always filled, so what would fit exactly may not be enough
            clips += max(1, clips * (len(dealt) - most) // most)
            dealt = self._deal(clips)
        return dealt

    def _deal(self, clips: int) -> tuple[tuple[ShardDue, ...], ...]:
        batches: list[list[ShardDue]] = []
        room = 0
        for due in self.shards:
            if room < due.clips or not batches:
                batches.append([])
                room = max(clips, due.clips)
            batches[-1].append(due)
            room -= due.clips
        return tuple(tuple(batch) for batch in batches)


def plan_corpus(
    config: Config,
    corpus: str,
    partitions: Sequence[str] | None = None,
    only: Only = Only.DUE,
    features: Sequence[str] | None = None,
    force: bool = False,
) -> Plan:
    """Say which shards of a corpus are due; `features` names features, none means all of the corpus.

    `force` takes the complete ones too, and computes anew what it takes: nothing is copied from what was made before.
    ConfigError: what is due would not fit into the dataset that is there, or a model names a fusion that is not there.
    """
    check_model_names(config, corpus)  # of models that would learn from what is made: not only when they do
    layout = open_store(config.store)
    ledger = read_ledger(config, corpus, partitions, features)
    extractors = {feature_name(extractor): extractor for extractor in resolve_features(config, corpus)}
    modalities = {name: extractor.modality for name, extractor in extractors.items()}
    ledger = with_causes(layout, corpus, ledger, modalities)
    states = _STATES_TAKEN[only] | ({State.COMPLETE} if force else set())
    taken = list(_states_of(ledger.filter(pl.col("state").is_in(sorted(states)) & ~pl.col("held"))))
    for name in sorted({state.feature for state in taken}):
        require_same_shape(layout, corpus, extractors[name])
    running = tuple(_states_of(ledger.filter(pl.col("state") == State.RUNNING)))
    undone = pl.col("state").is_in(sorted(_STATES_TAKEN[Only.DUE]))
    by_shard: dict[tuple[str, int], list[ShardState]] = {}
    for state in taken:
        by_shard.setdefault((state.partition, state.shard), []).append(state)
    return Plan(
        corpus=corpus,
        shards=tuple(
            ShardDue(
                partition=partition,
                shard=shard,
                features=tuple(state.feature for state in group),
                reasons=tuple(state.reason for state in group),
                clips=group[0].clips,
                again=force or any(state.state is State.FAILED for state in group),
                reuse=not force,
            )
            for (partition, shard), group in sorted(by_shard.items())
        ),
        running=running,
        held=tuple(_states_of(ledger.filter(pl.col("held") & undone))),
    )


def dates_between(config: Config, corpus: str, first: str | None, last: str | None) -> tuple[str, ...]:
    """Return the partitions of a corpus from a first to a last date, both included; None is open."""
    known = open_store(config.store).dataset(corpus, CLIPS).partitions()
    return tuple(dt for dt in known if (first or dt) <= dt <= (last or dt))


def read_states(
    config: Config, corpus: str, partitions: Sequence[str] | None = None, features: Sequence[str] | None = None
) -> tuple[ShardState, ...]:
    """Return the state of every shard x feature of a corpus, in order."""
    return tuple(_states_of(read_ledger(config, corpus, partitions, features)))


def _states_of(ledger: pl.DataFrame) -> Iterator[ShardState]:
    """Yield the rows of a ledger as values."""
    states = {str(state): state for state in State}
    for row in ledger.iter_rows(named=True):
        yield ShardState(**{**row, "state": states[row["state"]]})


def raise_if_running(held: Mapping[tuple[str, int], str], report: object = None) -> None:
    """Raise HeldError that names shards which somebody else is making; `report` says what was made beside them."""
    if held:
        (partition, shard), who = min(held.items())
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise HeldError(
            f"dt={partition} shard {shard}{more} is being worked on by {who}. What nobody else has is done. "
            "Wait for it or end it, then run again.",
            report,
        )
