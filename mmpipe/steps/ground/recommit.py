"""Commit the shards of a partition that were made again from what it had: nothing is computed, nothing joins."""

from __future__ import annotations

from collections.abc import Mapping

from mmpipe.store.card import write_card
from mmpipe.store.commit import commit_partition
from mmpipe.store.layout import CLIPS, DatasetLayout
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.schema import read_schema
from mmpipe.store.spinecard import write_spine_card


def recommit(
    dataset: DatasetLayout, head: Manifest, shards: Mapping[int, ShardEntry], totals: Mapping[str, int] | None = None
) -> Manifest:
    """Put shards in place of all those of a head, and bring the card up; TransientError where the head is no longer."""
    return commit_partition(
        dataset,
        head.partition,
        schema=head.schema,
        fingerprint=head.fingerprint,
        shards=shards,
        totals=totals,
        replace=True,
        base_revision=head.revision,
        then=lambda: _write_card(dataset, head.partition),
    )


def _write_card(dataset: DatasetLayout, partition: str) -> None:
    if dataset.is_feature:
        write_card(dataset, read_schema(dataset), touched=(partition,))
    elif dataset.name == CLIPS:
        write_spine_card(dataset)
