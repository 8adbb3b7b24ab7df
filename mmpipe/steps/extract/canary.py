"""Make one shard of a feature that nobody reads yet, and hold it against what is read today: a canary.

Nothing is committed: no reader sees the shard, and no night takes it up while the feature is not among those of the
corpus. Once it is, the shard that was made here is not made again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import ConfigError, TransientError
from mmpipe.features.extractor import Extractor, extractor_behind, feature_name, fingerprint
from mmpipe.steps.extract.commit import find_receipt
from mmpipe.steps.extract.extract import extract_shards
from mmpipe.steps.extract.feature_compare import committed_values, shard_values
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.plan.feature_set import feature_names, resolve_feature
from mmpipe.steps.plan.inputs import shard_inputs
from mmpipe.steps.plan.plan import Only, ShardDue, plan_corpus
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout, create_store
from mmpipe.store.likeness import Likeness, compare_values
from mmpipe.store.receipt import Receipt
from mmpipe.store.spine import read_spine


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One shard of a feature, made and not committed."""

    corpus: str
    feature: str
    against: str  # the feature that is read today; "" where there is none
    partition: str
    shard: int
    made: bool  # False: it had been made before
    quarantined: Mapping[str, int]  # by reason
    seconds: float
    likeness: Likeness | None  # None: there is nothing to compare with

    def table(self) -> list[dict[str, Any]]:
        """Return a row per figure."""
        drops = ", ".join(f"{count} {code}" for code, count in sorted(self.quarantined.items()))
        rows: list[dict[str, Any]] = [
            {"what": "feature", "value": self.feature},
            {"what": "against", "value": self.against or "nothing"},
            {"what": "shard", "value": f"dt={self.partition} {self.shard}"},
            {"what": "made now", "value": f"{self.seconds:.1f} s" if self.made else "no, it was there"},
            {"what": "clips that it cannot use", "value": drops or 0},
        ]
        return rows + (self.likeness.table() if self.likeness else [])


def make_canary(
    config: Config,
    corpus: str,
    name: str,
    against: str = "",
    dt: str | None = None,
    shard: int = 0,
    progress: Progress = SILENT,
) -> Canary:
    """Make one shard of a feature, of the newest date unless one is named, and compare it clip by clip.

    `name` is a table of [features] that no corpus need name yet, or an extractor whose version or parameters changed.
    Raise ConfigError where there is no such feature or shard, or the shard is committed as it would be made.
    """
    layout = create_store(config.store)
    wide = _with_feature(config, corpus, name)
    extractor = resolve_feature(wide, name, corpus)
    partition = _partition(layout, corpus, dt)
    rows = read_spine(layout, corpus, (partition,)).filter(pl.col("shard") == shard)
    if rows.is_empty():
        raise ConfigError(f"dt={partition} of {corpus!r} has no shard {shard}; `mmpipe status` counts them")
    dataset = layout.dataset(corpus, feature_name(extractor))
    found = _find(dataset, partition, extractor, shard, rows)
    started = time.monotonic()
    if found is None:
        extract_shards(wide, corpus, (_due(wide, corpus, partition, shard, dataset.name),), progress)
    receipt = found or _find(dataset, partition, extractor, shard, rows)
    if receipt is None:  # somebody put the feature among those of the corpus and committed it meanwhile
        raise TransientError(f"shard {shard} of {dataset.name} was committed meanwhile; run the same again")
    old = _read_today(layout, corpus, partition, extractor, against)
    return Canary(
        corpus=corpus,
        feature=dataset.name,
        against=old.name if old else "",
        partition=partition,
        shard=shard,
        made=found is None,
        quarantined=_count_drops(receipt),
        seconds=time.monotonic() - started,
        likeness=_compare(old, dataset, receipt, partition, rows) if old else None,
    )


def _with_feature(config: Config, corpus: str, name: str) -> Config:
    """Return the config with a feature more in one corpus, for this one run."""
    source = config.corpora[corpus]
    names = tuple(dict.fromkeys((*feature_names(config, corpus), name)))
    return config.model_copy(
        update={"corpora": {**config.corpora, corpus: source.model_copy(update={"features": names})}}
    )


def _partition(layout: StoreLayout, corpus: str, dt: str | None) -> str:
    known = layout.dataset(corpus, CLIPS).partitions()
    if not known or (dt and dt not in known):
        raise ConfigError(f"{corpus!r} has no clips of {dt or 'any date'}. Run `mmpipe ingest` first.")
    return dt or known[-1]


def _find(
    dataset: DatasetLayout, partition: str, extractor: Extractor, shard: int, rows: pl.DataFrame
) -> Receipt | None:
    inputs = shard_inputs(rows, extractor.modality)
    return find_receipt(dataset, partition, fingerprint(extractor), shard, inputs)


def _due(config: Config, corpus: str, partition: str, shard: int, feature: str) -> ShardDue:
    plan = plan_corpus(config, corpus, (partition,), Only.DUE, (feature,))
    plan.raise_if_running()
    for due in plan.shards:
        if due.shard == shard:
            return due
    raise ConfigError(
        f"{feature} is committed for dt={partition} shard {shard} as it would be made: there is nothing to try out. "
        "Compare it with another one: mmpipe feature compare OLD NEW"
    )


def _read_today(
    layout: StoreLayout, corpus: str, partition: str, extractor: Extractor, against: str
) -> DatasetLayout | None:
    """Return what is to be compared with: what is named, else the same feature as committed, else its next of kin."""
    known = [name for name in layout.feature_names(corpus) if partition in layout.dataset(corpus, name).partitions()]
    if against:
        found = [name for name in known if against in (name, name.rpartition("@")[0])]
        if not found:
            raise ConfigError(f"{against!r} is not committed for dt={partition} of {corpus!r}; there: {known}")
        return layout.dataset(corpus, found[-1])
    own = feature_name(extractor)
    bases = (extractor.name, extractor_behind(extractor).name)
    kin = [name for base in bases for name in known if name.startswith(f"{base}@")]
    chosen = own if own in known else next(iter(kin), "")
    return layout.dataset(corpus, chosen) if chosen else None


def _compare(old: DatasetLayout, new: DatasetLayout, receipt: Receipt, partition: str, rows: pl.DataFrame) -> Likeness:
    live = set(rows.filter(~pl.col("superseded"))["key"])
    shard = receipt.entry.number
    return compare_values(committed_values(old, partition, live, shard), shard_values(new, receipt.entry, live))


def _count_drops(receipt: Receipt) -> dict[str, int]:
    counts: dict[str, int] = {}
    for drop in receipt.drops:
        if not drop.kept:
            counts[drop.code] = counts.get(drop.code, 0) + 1
    return counts
