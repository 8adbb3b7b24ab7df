"""Warn of values that are whole and yet suspicious: constant, or unlike those of the partition before.

The rule, from the statistics in the manifests alone, so that no value is read:
- a shard with values that are all zero or have no variance is named with their number;
- a partition whose mean norm is less than half or more than twice that of the last partition before it is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from mmpipe.errors import StoreError
from mmpipe.store.finding import Finding, Severity
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import manifest_name, read_head

MAX_RATIO = 2.0
_LOOK = "Look at the clips (`mmpipe show`); if the raw files changed, that is the truth, else mend the extractor."


def warn_of_values(layout: StoreLayout, corpora: Sequence[str]) -> tuple[Finding, ...]:
    """Return the warnings about every feature of some corpora."""
    return tuple(
        finding
        for corpus in corpora
        for name in layout.feature_names(corpus)
        for finding in _warn_of_feature(layout, layout.dataset(corpus, name))
    )


def mean_norm(manifest: Manifest) -> float | None:
    """Return the mean norm of a partition's values, None without values."""
    if not manifest.samples:
        return None
    return sum(shard.samples * shard.statistics.norm_mean for shard in manifest.shards) / manifest.samples


def _warn_of_feature(layout: StoreLayout, dataset: DatasetLayout) -> Iterator[Finding]:
    heads = _readable_heads(dataset)
    for head in heads:
        for shard in head.shards:
            if shard.statistics.num_constant:
                zero = shard.statistics.num_zero
                detail = f"{shard.statistics.num_constant} of {shard.samples} values of shard {shard.number} "
                yield _warning(layout, dataset, head, "values_constant", detail + f"are constant, {zero} all zero")
    for before, after in pairwise(head for head in heads if head.samples):
        old, new = mean_norm(before) or 0.0, mean_norm(after) or 0.0
        if max(old, new) > MAX_RATIO * min(old, new):
            detail = f"the mean norm is {new:.4g}, that of {before.partition} is {old:.4g}"
            yield _warning(layout, dataset, after, "norm_drift", detail)


def _readable_heads(dataset: DatasetLayout) -> list[Manifest]:
    heads = []
    for partition in dataset.partitions():
        try:
            heads.append(read_head(dataset, partition))
        except StoreError:
            continue  # a damaged manifest is a finding of its own
    return [head for head in heads if head is not None]


def _warning(layout: StoreLayout, dataset: DatasetLayout, head: Manifest, code: str, detail: str) -> Finding:
    path = dataset.meta(head.partition) / manifest_name(head.revision)
    return Finding.at(layout.root, path, code, detail, _LOOK, Severity.WARNING)
