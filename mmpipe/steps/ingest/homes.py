"""Where everything that was ever taken in lives: first seen sticks, also for what was quarantined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from mmpipe.store.assets import read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """Partitions by source id, file and asset; and the source id that an asset was taken in under."""

    partition_of_source: Mapping[str, str]
    partition_of_file: Mapping[str, str]
    partition_of_asset: Mapping[str, str]
    source_of_asset: Mapping[str, str]

    def of(self, source_id: str, asset_id: str | None) -> str | None:
        """Return the partition of a source, or of its bytes under another name."""
        return self.partition_of_source.get(source_id) or self.partition_of_asset.get(asset_id or "")

    def of_file(self, file: str) -> str | None:
        """Return the partition in whose quarantine a file is."""
        return self.partition_of_file.get(file)

    def first_source(self, asset_id: str) -> str | None:
        """Return the source id that an asset was taken in under."""
        return self.source_of_asset.get(asset_id)

    def first_partition(self) -> str | None:
        """Return the oldest partition."""
        return min((*self.partition_of_asset.values(), *self.partition_of_file.values()), default=None)


def read_homes(layout: StoreLayout, corpus: str) -> Homes:
    """Read the homes from the assets and the quarantine; the oldest partition wins."""
    assets = read_assets(layout, corpus).select("partition", "asset_id", "source_id").unique().sort("partition")
    rows = list(assets.reverse().iter_rows())  # so that the oldest is written last
    drops = read_quarantine(layout, corpus).filter(~_is_extraction())
    dropped = list(drops.select("partition", "source_id", "file").sort("partition").reverse().iter_rows())
    return Homes(
        partition_of_source={source: dt for dt, source, _ in dropped if source}
        | {source: dt for dt, _, source in rows},
        partition_of_file={file: dt for dt, _, file in dropped if file},
        partition_of_asset={asset: dt for dt, asset, _ in rows},
        source_of_asset={asset: source for _, asset, source in rows},
    )


def _is_extraction() -> pl.Expr:
    return pl.col("stage") == "extract"
