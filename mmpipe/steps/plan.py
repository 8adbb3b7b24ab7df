"""The ledger: what the config wants against what the manifests hold, and so what is due and why.

Nothing here trusts a marker or a date: a shard is complete if the head manifest names it under the wanted
fingerprint, made from the digests that the spine has now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.steps.choices import Only as Only
from mmpipe.steps.choices import State as State
from mmpipe.steps.feature_set import resolve_features
from mmpipe.steps.inputs import inputs_digest
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout, open_store
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.objects import has_object
from mmpipe.store.receipt import read_receipt
from mmpipe.store.spine import read_spine

_STATES_TAKEN = {
    Only.DUE: frozenset({State.MISSING, State.STALE}),
    Only.MISSING: frozenset({State.MISSING}),
    Only.STALE: frozenset({State.STALE}),
    Only.FAILED: frozenset({State.FAILED}),
    Only.ALL: frozenset(State),
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would run, and why."""

    corpus: str
    shards: tuple[ShardDue, ...]

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is due."""
        return not self.shards

    @property
    def partitions(self) -> tuple[str, ...]:
        """Return the partitions that have something due."""
        return tuple(sorted({due.partition for due in self.shards}))

    def batches(self, clips: int = 2_000) -> tuple[tuple[ShardDue, ...], ...]:
        """Deal the shards into runs of about so many clips: what one Prefect task takes."""
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
) -> Plan:
    """Say which shards of a corpus are due; `features` names extractors, none means all of the corpus."""
    states = read_states(config, corpus, partitions, features)
    taken = [state for state in states if state.state in _STATES_TAKEN[only]]
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
                again=only in (Only.FAILED, Only.ALL),
                reuse=only is not Only.ALL,
            )
            for (partition, shard), group in sorted(by_shard.items())
        ),
    )


def dates_between(config: Config, corpus: str, first: str | None, last: str | None) -> tuple[str, ...]:
    """Return the partitions of a corpus from a first to a last date, both included; None is open."""
    known = open_store(config.store).dataset(corpus, CLIPS).partitions()
    return tuple(dt for dt in known if (first or dt) <= dt <= (last or dt))


def read_states(
    config: Config, corpus: str, partitions: Sequence[str] | None = None, features: Sequence[str] | None = None
) -> tuple[ShardState, ...]:
    """Return the state of every shard x feature of a corpus, in order."""
    extractors = _chosen(resolve_features(config, corpus), features, corpus)
    layout = open_store(config.store)
    wanted = layout.dataset(corpus, CLIPS).partitions() if partitions is None else tuple(partitions)
    return tuple(state for partition in wanted for state in _partition_states(layout, corpus, partition, extractors))


def _chosen(extractors: Sequence[Extractor], features: Sequence[str] | None, corpus: str) -> list[Extractor]:
    """Return the extractors that are asked for, by name with or without version; refuse a name that is none."""
    named = {name: extractor for extractor in extractors for name in (extractor.name, feature_name(extractor))}
    if unknown := sorted(set(features or ()) - named.keys()):
        known = ", ".join(extractor.name for extractor in extractors)
        raise ConfigError(
            f"{corpus!r} has no feature {unknown[0]!r}; its features are: {known}. Add it to `features` of the corpus."
        )
    wanted = {feature_name(named[name]) for name in (named if features is None else features)}
    return [extractor for extractor in extractors if feature_name(extractor) in wanted]


def _partition_states(
    layout: StoreLayout, corpus: str, partition: str, extractors: Iterable[Extractor]
) -> Iterable[ShardState]:
    spine = read_spine(layout, corpus, (partition,))
    if spine.is_empty():
        return
    shards = sorted(spine.partition_by("shard", as_dict=True).items())
    for extractor in extractors:
        dataset = layout.dataset(corpus, feature_name(extractor))
        head = read_head(dataset, partition)
        for (shard,), rows in shards:
            yield _shard_state(extractor, dataset, head, partition, int(shard), rows)


def _shard_state(
    extractor: Extractor, dataset: DatasetLayout, head: Manifest | None, partition: str, shard: int, rows: pl.DataFrame
) -> ShardState:
    inputs = inputs_digest(rows, extractor.modality)
    entry = head.shard(shard) if head else None
    state, reason = _judge(extractor, head, entry, inputs)
    if entry and state in (State.COMPLETE, State.FAILED) and not all(has_object(dataset, file) for file in entry.files):
        state, reason = State.MISSING, "its files are gone or cut short"
    if state is State.COMPLETE and read_receipt(dataset, partition, fingerprint(extractor), shard, inputs):
        # A commit drops the receipts last: what shows the manifest to others may be behind it.
        state, reason = State.MISSING, "its commit was cut short: nothing is left to compute"
    return ShardState(
        partition=partition,
        shard=shard,
        feature=feature_name(extractor),
        state=state,
        reason=reason,
        clips=rows.height,
        samples=entry.samples if entry else 0,
        quarantined=entry.quarantined if entry else 0,
        inputs=inputs,
    )


def _judge(extractor: Extractor, head: Manifest | None, entry: ShardEntry | None, inputs: str) -> tuple[State, str]:
    if head is not None and head.fingerprint != fingerprint(extractor):
        return State.STALE, "the extractor's parameters, version or weights changed"
    if entry is None:
        return State.MISSING, "never extracted"
    if entry.inputs != inputs:
        return State.STALE, f"the {extractor.modality} of its clips changed"
    if entry.quarantined:
        return State.FAILED, f"{entry.quarantined} of {entry.spine} clips are in quarantine"
    return State.COMPLETE, "complete"
