"""Warn of values that are whole and yet suspicious: constant, or unlike those of the partition before.

The rule, from the statistics in the manifests alone, so that no value is read:
- a shard with values that are all zero or have no variance is named with their number;
- a partition whose mean norm is less than half or more than twice that of the last partition before it is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

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


def warn_of_date(layout: StoreLayout, corpus: str, partition: str) -> dict[str, Finding]:
    """Return by feature what is unlike the last date before: the size of a partition's values."""
    datasets = {name: layout.dataset(corpus, name) for name in layout.feature_names(corpus)}
    found = {name: next(_warn_of_newest(layout, dataset, partition), None) for name, dataset in datasets.items()}
    return {name: finding for name, finding in found.items() if finding}


def mean_norm(manifest: Manifest) -> float | None:
    """Return the mean norm of a partition's values, None without values."""
    if not manifest.samples:
        return None
    return sum(shard.samples * shard.statistics.norm_mean for shard in manifest.shards) / manifest.samples


def _warn_of_feature(layout: StoreLayout, dataset: DatasetLayout) -> Iterator[Finding]:
    heads = list(_heads(dataset, dataset.partitions()))
    for head in heads:
        for shard in head.shards:
            if shard.statistics.num_constant:
                zero = shard.statistics.num_zero
                detail = f"{shard.statistics.num_constant} of {shard.samples} values of shard {shard.number} "
                yield _warning(layout, dataset, head, "values_constant", detail + f"are constant, {zero} all zero")
    yield from _warn_of_norms(layout, dataset, [head for head in heads if head.samples])


def _warn_of_newest(layout: StoreLayout, dataset: DatasetLayout, partition: str) -> Iterator[Finding]:
    """Compare a partition with the last one before it that has values: years may lie before."""
    until = [known for known in dataset.partitions() if known <= partition]
    newest = list(islice((head for head in _heads(dataset, reversed(until)) if head.samples), 2))
    if newest and newest[0].partition == partition:
        yield from _warn_of_norms(layout, dataset, newest[::-1])


def _warn_of_norms(layout: StoreLayout, dataset: DatasetLayout, heads: Sequence[Manifest]) -> Iterator[Finding]:
    for before, after in pairwise(heads):
        old, new = mean_norm(before) or 0.0, mean_norm(after) or 0.0
        if max(old, new) > MAX_RATIO * min(old, new):
            detail = f"the mean norm is {new:.4g}, that of {before.partition} is {old:.4g}"
            yield _warning(layout, dataset, after, "norm_drift", detail)


def _heads(dataset: DatasetLayout, partitions: Iterable[str]) -> Iterator[Manifest]:
    for partition in partitions:
        try:
            head = read_head(dataset, partition)
        except StoreError:
            continue  # a damaged manifest is a finding of its own
        if head is not None:
            yield head


def _warning(layout: StoreLayout, dataset: DatasetLayout, head: Manifest, code: str, detail: str) -> Finding:
    path = dataset.meta(head.partition) / manifest_name(head.revision)
    return Finding.at(layout.root, path, code, detail, _LOOK, Severity.WARNING)
