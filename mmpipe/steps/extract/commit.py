"""Make finished shards visible: one manifest per feature and partition, the quarantine first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.steps.ground.replay import replay_command
from mmpipe.steps.ground.watching import clip_tables, feature_tables, watch_stage
from mmpipe.steps.ingest.ingest_record import look_again
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.inputs import possible_inputs, shard_inputs
from mmpipe.store.card import write_card
from mmpipe.store.claims import claim_shards
from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.layout import QUARANTINE, DatasetLayout, StoreLayout, create_store
from mmpipe.store.quarantine import EXTRACTION, write_quarantine
from mmpipe.store.receipt import Receipt, read_receipt
from mmpipe.store.schema import schema_digest
from mmpipe.store.spine import read_spine
from mmpipe.watch.stage import Stage
from mmpipe.words import counted

_NOT_AS_INGESTED = frozenset({"changed_since_ingest", "unreadable"})  # of what a corpus holds now, an ingest knows more


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCount:
    """What became of one feature's clips in one partition."""

    partition: str
    feature: str
    shards: int
    written: int
    absent: int
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReport:
    """What a partition's features hold after a commit."""

    corpus: str
    features: tuple[FeatureCount, ...] = field(default=())

    def summary(self) -> str:
        """Return a line of Markdown."""
        return f"{counted(len(self.features), 'feature')} of `{self.corpus}` committed"

    def table(self) -> list[dict[str, Any]]:
        """Return one row per feature."""
        return [
            {
                "dt": count.partition,
                "feature": count.feature,
                "shards": count.shards,
                "written": count.written,
                "absent": count.absent,
                "quarantined": count.quarantined,
            }
            for count in self.features
        ]


def commit_features(config: Config, corpus: str, dt: str) -> CommitReport:
    """Commit every finished shard of a partition: one manifest per feature, the quarantine first."""
    layout = create_store(config.store)
    with watch_stage(config, Stage.COMMIT, corpus=corpus, dates=(dt,)) as stage:
        report = _commit_features(config, layout, corpus, dt)
        stage.read(partial(clip_tables, layout, corpus, (dt,)))
        stage.made(partial(feature_tables, layout, corpus, [count.feature for count in report.features], (dt,)))
        stage.count(
            features=len(report.features),
            written=sum(count.written for count in report.features),
            quarantined=sum(count.quarantined for count in report.features),
        )
    return report


def _commit_features(config: Config, layout: StoreLayout, corpus: str, dt: str) -> CommitReport:
    spine = read_spine(layout, corpus, (dt,))
    shards = {int(number): rows for (number,), rows in sorted(spine.partition_by("shard", as_dict=True).items())}
    found = [
        (extractor, _finished(layout, corpus, dt, extractor, shards)) for extractor in resolve_features(config, corpus)
    ]
    made = {feature_name(extractor): receipts for extractor, receipts in found if receipts}
    if made:
        # Before the features: a reader may see a reason without its gap, never a gap without its reason.
        _commit_drops(layout, corpus, dt, made, shards)
    return CommitReport(
        corpus=corpus,
        features=tuple(_commit(layout, corpus, dt, extractor, receipts) for extractor, receipts in found),
    )


def commit_alone(config: Config, corpus: str, dt: str) -> CommitReport:
    """Commit a partition with a sign of life of its own, where no extraction's claim gives one."""
    with claim_shards(create_store(config.store), corpus, ()):
        return commit_features(config, corpus, dt)


def _commit_drops(
    layout: StoreLayout,
    corpus: str,
    dt: str,
    made: Mapping[str, Sequence[Receipt]],
    shards: Mapping[int, pl.DataFrame],
) -> None:
    """Put the drops of shards that were made in place of what their clips had before."""
    drops = [drop for receipts in made.values() for receipt in receipts for drop in receipt.drops]
    again = pl.lit(False)
    for feature, receipts in made.items():
        keys = [key for receipt in receipts for key in shards[receipt.entry.number]["key"]]
        again |= (pl.col("feature") == feature) & pl.col("clip_key").is_in(keys)
    dataset = layout.dataset(corpus, QUARANTINE)
    if drops or read_head(dataset, dt):
        write_quarantine(dataset, dt, EXTRACTION, drops, lambda drop: replay_command(corpus, dt, drop), keep=~again)
    if changed := {drop.file for drop in drops if drop.code in _NOT_AS_INGESTED and drop.file}:
        look_again(layout, corpus, dt, changed)


def _finished(
    layout: StoreLayout, corpus: str, dt: str, extractor: Extractor, shards: Mapping[int, pl.DataFrame]
) -> list[Receipt]:
    """Return the receipts of shards that wait for their commit."""
    dataset = layout.dataset(corpus, feature_name(extractor))
    notes = (
        find_receipt(dataset, dt, fingerprint(extractor), number, shard_inputs(rows, extractor.modality))
        for number, rows in shards.items()
    )
    return [note for note in notes if note]


def find_receipt(dataset: DatasetLayout, dt: str, mark: str, number: int, inputs: str) -> Receipt | None:
    """Return the note of a finished shard, also where clips of it were superseded after it was made."""
    notes = (read_receipt(dataset, dt, mark, number, noted) for noted in possible_inputs(inputs))
    return next((note for note in notes if note), None)


def _commit(
    layout: StoreLayout, corpus: str, dt: str, extractor: Extractor, receipts: Iterable[Receipt]
) -> FeatureCount:
    dataset = layout.dataset(corpus, feature_name(extractor))
    entries = {receipt.entry.number: receipt.entry for receipt in receipts}
    head = read_head(dataset, dt)
    if entries:
        head = commit_partition(
            dataset,
            dt,
            schema=schema_digest(extractor.schema),
            fingerprint=fingerprint(extractor),
            shards=entries,
            then=lambda: write_card(dataset, extractor.schema, touched=(dt,)),
        )
    shards = head.shards if head else ()
    return FeatureCount(
        partition=dt,
        feature=feature_name(extractor),
        shards=len(shards),
        written=sum(shard.samples for shard in shards),
        absent=sum(shard.absent for shard in shards),
        quarantined=sum(shard.quarantined for shard in shards),
    )
