"""The datasets of a corpus: cards of all, and one with its contract and dates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import polars as pl

from mmpipe.app.site import NotHereError
from mmpipe.app.values.datasets import (
    DATES_PER_PAGE,
    Column,
    Dataset,
    DatasetCard,
    DatasetDate,
    DatasetList,
    Statistics,
)
from mmpipe.app.values.paging import rows_of
from mmpipe.config import Config
from mmpipe.steps.tell.samples import describe_feature
from mmpipe.store.deprecation import read_deprecation
from mmpipe.store.heads import read_heads
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import read_head
from mmpipe.store.rights import Rights
from mmpipe.store.schema import find_schema, shape_of

_TABLES = {
    "clips": "One row per clip: where it lies, what is said of it, from which recording it is.",
    "assets": "One row per track of a recording: where its bytes lie, and whose they are.",
    "quarantine": "What cannot be used, why, and the command that tries it again.",
    "signals": "What was measured of each clip when it was taken in.",
    "tombstones": "What was forgotten, by digest.",
}


def read_datasets(layout: StoreLayout, corpus: str) -> DatasetList:
    """Return a card of every dataset."""
    return DatasetList(
        corpus=corpus, datasets=tuple(_card(layout.dataset(corpus, name)) for name in layout.dataset_names(corpus))
    )


def read_dataset(config: Config, layout: StoreLayout, corpus: str, name: str, page: int) -> Dataset:
    """Return one dataset with a page of its dates. NotHereError: there is none of this name."""
    names = layout.dataset_names(corpus)
    if name not in names:
        raise NotHereError(f"{corpus} has no dataset {name!r}; there are: {', '.join(names)}.")
    dataset = layout.dataset(corpus, name)
    facts = describe_feature(config, corpus, name) if dataset.is_feature and dataset.partitions() else {}
    dates, paging = rows_of(tuple(reversed(dataset.partitions())), page, DATES_PER_PAGE)
    marks = read_heads(dataset).unique("partition").filter(pl.col("fingerprint") != "")
    counts = marks.group_by("fingerprint").agg(pl.len()).sort("len", descending=True)
    return Dataset(
        corpus=corpus,
        card=_card(dataset),
        folder=str(dataset.root),
        facts=_contract(facts) if facts else {"holds": _TABLES.get(name, "A table of mmpipe's own.")},
        columns=tuple(
            Column(name=row["column"], kind=row["type"], meaning=row["meaning"]) for row in facts.get("columns", ())
        ),
        fingerprints=dict(counts.iter_rows()),
        dates=tuple(_dates(dataset, dates)),
        paging=paging,
        rights={name: str(facts[name]) for name in Rights.__dataclass_fields__ if facts.get(name)},
    )


def _card(dataset: DatasetLayout) -> DatasetCard:
    heads = read_heads(dataset)
    schema = find_schema(dataset) if dataset.is_feature else None
    notice = read_deprecation(dataset) if dataset.is_feature else None
    return DatasetCard(
        name=dataset.name,
        is_feature=dataset.is_feature,
        shape=shape_of(schema) if schema else "",
        partitions=heads["partition"].n_unique(),
        newest=str(heads["partition"].max() or ""),
        shards=heads["shard"].count(),
        rows=int(heads["samples"].sum()),
        nbytes=int(heads.select((pl.col("data_nbytes") + pl.col("index_nbytes")).sum()).item()),
        deprecated=notice.sentence(dataset.name) if notice else "",
    )


def _contract(facts: dict[str, Any]) -> dict[str, str]:
    left_out = {"columns", "folder", "deprecated", "newest", "partitions", *Rights.__dataclass_fields__}
    return {name.replace("_", " "): str(value) for name, value in facts.items() if name not in left_out and value != ""}


def _dates(dataset: DatasetLayout, partitions: tuple[str, ...]) -> Iterator[DatasetDate]:
    for partition in partitions:
        head = read_head(dataset, partition)
        if head is not None:
            yield _date(dataset, head)


def _date(dataset: DatasetLayout, head: Manifest) -> DatasetDate:
    return DatasetDate(
        dt=head.partition,
        revision=head.revision,
        sha256=head.digest(),
        shards=len(head.shards),
        samples=head.samples,
        absent=sum(shard.absent for shard in head.shards),
        quarantined=sum(shard.quarantined for shard in head.shards),
        nbytes=sum(file.nbytes for shard in head.shards for file in shard.files),
        fingerprint=head.fingerprint,
        statistics=_statistics(head) if dataset.is_feature and head.samples else None,
    )


def _statistics(head: Manifest) -> Statistics:
    """Return the statistics of all shards together; the mean is weighted by their values."""
    found = [(shard.samples, shard.statistics) for shard in head.shards if shard.samples]
    return Statistics(
        num_nan=sum(each.num_nan for _, each in found),
        num_zero=sum(each.num_zero for _, each in found),
        num_constant=sum(each.num_constant for _, each in found),
        norm_mean=math.fsum(samples * each.norm_mean for samples, each in found) / head.samples,
        norm_min=min(each.norm_min for _, each in found),
        norm_max=max(each.norm_max for _, each in found),
    )
