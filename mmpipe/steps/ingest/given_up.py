"""Take back that clips failed which nobody will make any more: all clips of their shard are superseded.

Such a shard leaves the feature's head, so that it is missing, and due, should one of its clips be live again; then its
rows leave the quarantine. Snapshots keep what they pinned.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import polars as pl

from mmpipe.steps.ground.recommit import recommit
from mmpipe.steps.ground.replay import replay_command
from mmpipe.store.commit import retry_lost_race
from mmpipe.store.layout import QUARANTINE, StoreLayout
from mmpipe.store.quarantine import EXTRACTION, read_quarantine, write_quarantine
from mmpipe.store.revisions import read_head
from mmpipe.store.spine import read_spine

EXTRACT_STAGE = "extract"


def drop_given_up(layout: StoreLayout, corpus: str, partitions: Iterable[str]) -> None:
    """Drop the rows and shards of failed clips that are superseded with all others of their shard."""
    dates = sorted(set(partitions))
    rows = read_quarantine(layout, corpus, dates).filter(
        (pl.col("stage") == EXTRACT_STAGE) & (pl.col("clip_key") != "")
    )
    for (dt,), failed in sorted(rows.partition_by("partition", as_dict=True).items()):
        _drop_in(layout, corpus, str(dt), failed)


def _drop_in(layout: StoreLayout, corpus: str, dt: str, failed: pl.DataFrame) -> None:
    is_dead = pl.col("superseded").all().over("shard")
    dead = read_spine(layout, corpus, (dt,)).filter(is_dead).select("shard", clip_key="key")
    found = failed.join(dead, on="clip_key")
    if found.is_empty():
        return
    for (feature,), group in sorted(found.partition_by("feature", as_dict=True).items()):
        retry_lost_race(partial(_drop_shards, layout, corpus, str(feature), dt, frozenset(group["shard"])))
    gone = pl.col("clip_key").is_in(found["clip_key"].unique().to_list())
    dataset = layout.dataset(corpus, QUARANTINE)
    write_quarantine(dataset, dt, EXTRACTION, (), lambda drop: replay_command(corpus, dt, drop), keep=~gone)


def _drop_shards(layout: StoreLayout, corpus: str, feature: str, dt: str, numbers: frozenset[int]) -> None:
    dataset = layout.dataset(corpus, feature)
    head = read_head(dataset, dt)
    if head and numbers.intersection(shard.number for shard in head.shards):
        recommit(dataset, head, {shard.number: shard for shard in head.shards if shard.number not in numbers})
