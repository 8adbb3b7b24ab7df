"""What is committed of a date: the head manifest of every feature, by name, revision and digest."""

from __future__ import annotations

from dataclasses import dataclass

from mmpipe.config import Config
from mmpipe.store.commit import read_head
from mmpipe.store.layout import StoreLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedPartition:
    """A partition of a feature as its readers find it."""

    corpus: str
    feature: str
    partition: str
    revision: int
    digest: str  # sha256 of the manifest: names every byte of the partition
    schema: str
    fingerprint: str
    shards: int
    samples: int


def committed_partitions(config: Config, corpus: str, dt: str) -> tuple[CommittedPartition, ...]:
    """Return what a date holds, a value per feature; nothing where there is no store yet."""
    layout = StoreLayout(config.store)
    if not config.store.exists():
        return ()
    heads = ((name, read_head(layout.dataset(corpus, name), dt)) for name in layout.feature_names(corpus))
    return tuple(
        CommittedPartition(
            corpus=corpus,
            feature=name,
            partition=dt,
            revision=head.revision,
            digest=head.digest(),
            schema=head.schema,
            fingerprint=head.fingerprint,
            shards=len(head.shards),
            samples=head.samples,
        )
        for name, head in heads
        if head
    )
