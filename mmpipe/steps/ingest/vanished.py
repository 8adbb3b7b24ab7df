"""Recordings whose files are no longer there: what they gave stays, and what they can no longer give is given up.

A corpus may be cleared away once it is taken in, so that a file is gone retires nothing by itself. Where its clips fell
out of every feature because it was gone, and it still is, they can never be made: those recordings are superseded, and
live again should the file come back. Where one feature has them, they stay for its sake.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from mmpipe.config import CorpusConfig, DateRule
from mmpipe.steps.ingest.acceptance import Acceptance
from mmpipe.steps.ingest.given_up import EXTRACT_STAGE
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.schema import read_schema
from mmpipe.store.spine import read_spine

UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """What an ingest does not find any more of what was taken in."""

    files: tuple[str, ...] = ()  # of live clips, sorted
    assets: frozenset[str] = frozenset()  # whose clips are live
    retired: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of these, by partition: to be given up now
    given_up: frozenset[str] = frozenset()  # now or before
    is_withheld: bool = False  # more is gone than is there, as where a disk is not mounted: nothing is given up

    def retired_beside(self, others: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        """Return by partition what is given up, together with what leaves for another reason."""
        dates = sorted({*self.retired, *others})
        return {date: self.retired.get(date, frozenset()) | others.get(date, frozenset()) for date in dates}


ALL_THERE = Vanished()


def find_vanished(
    layout: StoreLayout,
    corpus: str,
    source: CorpusConfig,
    dt: str,
    accepted: Sequence[Acceptance],
    listed: Collection[str],
) -> Vanished:
    """Compare what was taken in with the names of the files that are there; each date by itself where paths tell it."""
    partitions = None if source.dates.rule is DateRule.FIRST_SEEN else (dt,)
    present = {entry.asset.asset_id for entry in accepted if entry.asset}
    named = {entry.source_id for entry in accepted if entry.asset}
    rows = read_assets(layout, corpus, partitions).select("partition", "asset_id", "source_id", "file", "modality")
    rows = rows.filter((pl.col("file") != "") & ~pl.col("file").is_in(sorted(listed)))
    # Where the name holds other bytes now, an ingest says so of its own accord.
    rows = rows.filter(~pl.col("asset_id").is_in(sorted(present)) & ~pl.col("source_id").is_in(sorted(named)))
    if rows.is_empty():
        return ALL_THERE
    dates = rows["partition"].unique().sort().to_list()
    spine = read_spine(layout, corpus, dates)
    live = spine.filter(~pl.col("superseded")).select("asset_id").unique()
    before = rows.join(spine.select("asset_id").unique(), on="asset_id", how="semi").join(
        live, on="asset_id", how="anti"
    )
    rows = rows.join(live, on="asset_id", how="semi")
    failed = read_quarantine(layout, corpus, dates).filter(
        (pl.col("stage") == EXTRACT_STAGE) & (pl.col("code") == UNREADABLE) & ~pl.col("kept")
    )
    lost = rows.join(failed.select("asset_id", "file"), on=["asset_id", "file"], how="semi")
    lost = lost.join(_with_values(layout, corpus, lost, failed), on="asset_id", how="anti")
    is_withheld = rows["asset_id"].n_unique() > len(present) and not lost.is_empty()
    lost = lost.clear() if is_withheld else lost
    return Vanished(
        files=tuple(rows["file"].unique().sort()),
        assets=frozenset(rows["asset_id"]),
        retired={str(date): frozenset(group["asset_id"]) for (date,), group in lost.group_by("partition")},
        given_up=frozenset(lost["asset_id"]) | frozenset(before["asset_id"]),
        is_withheld=is_withheld,
    )


def _with_values(layout: StoreLayout, corpus: str, lost: pl.DataFrame, failed: pl.DataFrame) -> pl.DataFrame:
    """Return the recordings of which some feature was made while their files were there: those values stay."""
    made = pl.DataFrame(
        [
            (partition, str(read_schema(dataset).modality), dataset.name)
            for dataset in (layout.dataset(corpus, name) for name in layout.feature_names(corpus))
            for partition in set(dataset.partitions()) & set(lost["partition"])
        ],
        schema={"partition": pl.String, "modality": pl.String, "feature": pl.String},
        orient="row",
    )
    asked = lost.select("partition", "asset_id", "modality").unique().join(made, on=["partition", "modality"])
    return asked.join(failed, on=["asset_id", "feature"], how="anti").select("asset_id").unique()
