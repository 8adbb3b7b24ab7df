"""How many live clips of a corpus stand under which licence and consent: kept a file a year, summed for the cards.

A count is good for one revision of the spine and one of the assets, so that only what changed is counted again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from mmpipe.io import StorePath, canonical_json, make_directory, replace_durable
from mmpipe.store.assets import ASSET_STREAMS
from mmpipe.store.layout import ASSETS, CLIPS, DatasetLayout, StoreLayout
from mmpipe.store.objects import stage_path
from mmpipe.store.revisions import list_revisions, read_head
from mmpipe.store.rights import RightsCount
from mmpipe.store.spine import read_spine_manifest
from mmpipe.store.table import read_manifest_table

FOLDER = "statistics"
COUNTED = ("licence", "pii", "consent")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionCount:
    """The clips of one partition, and of which revisions they were counted."""

    partition: str
    assets: int
    clips: int
    count: RightsCount


def count_rights(layout: StoreLayout, corpus: str, touched: Collection[str] | None = None) -> RightsCount:
    """Bring the kept counts up to the heads, of some partitions or of all, and return their sum.

    A partition that was never counted is counted whatever `touched` says.
    """
    assets, clips = layout.dataset(corpus, ASSETS), layout.dataset(corpus, CLIPS)
    kept = {found.partition: found for found in _read_kept(assets)}
    known = clips.partitions()
    counts: dict[str, PartitionCount] = {}
    for partition in known:
        before = kept.get(partition)
        if before and touched is not None and partition not in touched:
            counts[partition] = before
            continue
        revisions = (_newest(assets, partition), _newest(clips, partition))
        fresh = before and (before.assets, before.clips) == revisions
        counts[partition] = before if before and fresh else _count(assets, clips, partition)
    _write_kept(assets, counts.values(), kept)
    return _sum(found.count for found in counts.values())


def count_clips(spine: pl.DataFrame, assets: pl.DataFrame) -> RightsCount:
    """Count the live clips of a spine by what their assets' rows say."""
    said = assets.unique("asset_id", keep="first", maintain_order=True).select("asset_id", *COUNTED)
    clips = (
        spine.filter(~pl.col("superseded"))
        .join(said, on="asset_id", how="left")
        .with_columns(
            pl.col("licence").fill_null(""), pl.col("pii").fill_null("unknown"), pl.col("consent").fill_null("")
        )
    )
    return RightsCount(**{name: dict(sorted(Counter(clips[name].to_list()).items())) for name in COUNTED})


def _count(assets: DatasetLayout, clips: DatasetLayout, partition: str) -> PartitionCount:
    asset_head, spine_head = read_head(assets, partition), read_head(clips, partition)
    frame = read_manifest_table(assets, ASSET_STREAMS, asset_head)
    return PartitionCount(
        partition=partition,
        assets=asset_head.revision if asset_head else 0,
        clips=spine_head.revision if spine_head else 0,
        count=count_clips(read_spine_manifest(clips, spine_head), frame),
    )


def _newest(dataset: DatasetLayout, partition: str) -> int:
    return max(list_revisions(dataset, partition), default=0)


def _sum(counts: Iterable[RightsCount]) -> RightsCount:
    totals: dict[str, dict[str, int]] = {name: {} for name in COUNTED}
    for count in counts:  # plain loops: of ten thousand partitions a Counter would take a tenth of a second
        for name, total in totals.items():
            for word, clips in getattr(count, name).items():
                total[word] = total.get(word, 0) + clips
    return RightsCount(**{name: dict(sorted(found.items())) for name, found in totals.items()})


def _read_kept(assets: DatasetLayout) -> list[PartitionCount]:
    """Return what is kept; a damaged file is as good as none."""
    found: list[PartitionCount] = []
    for path in sorted((assets.root / FOLDER).glob("*.json")):
        try:
            found += [_from_json(row) for row in json.loads(path.read_bytes())]
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _from_json(row: dict[str, Any]) -> PartitionCount:
    return PartitionCount(
        partition=row["partition"],
        assets=row["assets"],
        clips=row["clips"],
        count=RightsCount(**{name: row[name] for name in COUNTED}),
    )


def _write_kept(assets: DatasetLayout, counts: Iterable[PartitionCount], kept: dict[str, PartitionCount]) -> None:
    years: dict[str, list[PartitionCount]] = {}
    for found in counts:
        years.setdefault(found.partition[:4], []).append(found)
    for year, rows in years.items():
        if any(kept.get(found.partition) is not found for found in rows):
            _replace(assets, assets.root / FOLDER / f"{year}.json", rows)


def _replace(assets: DatasetLayout, path: StorePath, rows: list[PartitionCount]) -> None:
    tables = [
        {"partition": row.partition, "assets": row.assets, "clips": row.clips, **asdict(row.count)} for row in rows
    ]
    make_directory(path.parent)
    replace_durable(path, canonical_json(tables), stage_path(assets))
