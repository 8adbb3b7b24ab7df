"""Hold two features of a corpus against each other, by what is committed: a new version in the shadow of the old."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.steps.plan.deprecate import require_feature
from mmpipe.store.layout import DatasetLayout, open_store
from mmpipe.store.likeness import Likeness, compare_values
from mmpipe.store.manifest import ShardEntry
from mmpipe.store.reader import ShardReader
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import read_schema
from mmpipe.store.spine import read_spine

MOST_CLIPS = 2_000  # enough for the figures; more would only take longer


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureComparison:
    """Two features of a corpus over the same clips."""

    corpus: str
    old: str
    new: str
    partitions: tuple[str, ...]  # that were compared, newest first
    likeness: Likeness

    def table(self) -> list[dict[str, Any]]:
        """Return a row per figure."""
        return self.likeness.table()


def compare_features(
    config: Config, corpus: str, old: str, new: str, dt: str | None = None, most: int = MOST_CLIPS
) -> FeatureComparison:
    """Compare what is committed of two features, in one date or in the newest dates, up to so many clips.

    Raise ConfigError where one of them is not there, or no date has both.
    """
    layout = open_store(config.store)
    before, after = require_feature(layout, corpus, old), require_feature(layout, corpus, new)
    if before.name == after.name:
        raise ConfigError(f"{before.name} cannot be compared with itself; name another feature or version")
    shared = sorted({*before.partitions()} & {*after.partitions()}, reverse=True)
    dates = [known for known in shared if dt in (None, known)]
    if not dates:
        where = f"on {dt}" if dt else "of any date"
        raise ConfigError(
            f"{before.name} and {after.name} are not both committed {where}; make the new one there first: "
            f"mmpipe extract --feature {after.name} --dt DATE"
        )
    old_values: dict[str, np.ndarray] = {}
    new_values: dict[str, np.ndarray] = {}
    taken: list[str] = []
    for partition in dates:
        live = set(read_spine(layout, corpus, (partition,)).filter(~pl.col("superseded"))["key"])
        old_values |= committed_values(before, partition, live)
        new_values |= committed_values(after, partition, live)
        taken.append(partition)
        if len(old_values) >= most:
            break
    return FeatureComparison(
        corpus=corpus,
        old=before.name,
        new=after.name,
        partitions=tuple(taken),
        likeness=compare_values(old_values, new_values),
    )


def committed_values(
    dataset: DatasetLayout, partition: str, keys: Collection[str], shard: int | None = None
) -> dict[str, np.ndarray]:
    """Return the values of some clips of a partition, or of one shard of it, as its head names them."""
    head = read_head(dataset, partition)
    entries = [entry for entry in (head.shards if head else ()) if shard in (None, entry.number)]
    found: dict[str, np.ndarray] = {}
    for entry in entries:
        found |= shard_values(dataset, entry, keys)
    return found


def shard_values(dataset: DatasetLayout, entry: ShardEntry, keys: Collection[str]) -> dict[str, np.ndarray]:
    """Return the values of some clips of a shard, committed or not."""
    reader = ShardReader.open(dataset, entry, read_schema(dataset))
    if reader is None:
        return {}
    return {key: np.array(reader.value(row).array) for row, key in enumerate(reader.keys) if key in keys}
