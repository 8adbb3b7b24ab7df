"""Commit a revision with the right statistics where a manifest tells others than the whole bytes give.

The values are the truth: they are what a sha256 vouches for. Old revisions stay as they are, with their digests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from mmpipe.errors import MmpipeError
from mmpipe.steps.ground.recommit import recommit
from mmpipe.steps.keep.restore import Step
from mmpipe.store.finding import Finding
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import ShardEntry
from mmpipe.store.reader import ShardReader
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import read_schema
from mmpipe.store.verifyshard import count_values


def recount_statistics(layout: StoreLayout, findings: Iterable[Finding], dry_run: bool) -> list[Step]:
    """Commit each head anew whose statistics are not those of its values."""
    wrong: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        if finding.code == "statistics_mismatch":
            corpus, name, *_, sha256 = finding.path.split("/")
            wrong.setdefault((corpus, name), set()).add(sha256)
    steps = []
    for (corpus, name), objects in sorted(wrong.items()):
        dataset = layout.dataset(corpus, name)
        for partition in dataset.partitions():
            path = f"{corpus}/{name} dt={partition}"
            try:
                steps += [
                    Step(action="made", path=path, detail=said)
                    for said in _recount(dataset, partition, objects, dry_run)
                ]
            except MmpipeError as error:
                steps.append(Step(action="left", path=path, detail=str(error).splitlines()[0]))
    return steps


def _recount(dataset: DatasetLayout, partition: str, objects: set[str], dry_run: bool) -> str:
    """Commit a head with the right statistics for the shards of these objects; return what was done, "" if nothing."""
    head = read_head(dataset, partition)
    if head is None:
        return ""
    shards = {shard.number: _counted(dataset, shard, objects) for shard in head.shards}
    numbers = [shard.number for shard in head.shards if shards[shard.number] != shard]
    if not numbers:
        return ""
    revision = head.revision + 1 if dry_run else recommit(dataset, head, shards).revision
    return f"revision {revision}: the statistics of shards {numbers} as their values give them"


def _counted(dataset: DatasetLayout, shard: ShardEntry, objects: set[str]) -> ShardEntry:
    if not objects.intersection(file.sha256 for file in shard.files):
        return shard
    reader = ShardReader.open(dataset, shard, read_schema(dataset))
    return dataclasses.replace(shard, statistics=count_values(reader)) if reader else shard
