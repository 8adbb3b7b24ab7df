"""The ledger of a corpus as the matrix of the app wants it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from mmpipe.app.values.matrix import Cell, Freshness, Ledger, Reason
from mmpipe.config import Config
from mmpipe.features.extractor import feature_name
from mmpipe.steps.plan.choices import State
from mmpipe.steps.plan.feature_set import try_features
from mmpipe.steps.plan.ledger import read_ledger
from mmpipe.steps.plan.status import read_status
from mmpipe.store.heads import read_heads
from mmpipe.store.layout import StoreLayout
from mmpipe.words import counted

_MOST_REASONS = 3  # that a cell tells
_WORST = ("missing", "stale", "failed", "running")
_NOT_CONFIGURED = "the config does not name this corpus: what it wants is not known"


def read_matrix(config: Config, layout: StoreLayout, corpus: str) -> Ledger:
    """Return every date x feature; of a corpus that the config lacks, what is there."""
    if corpus not in config.corpora:
        return _unjudged(layout, corpus)
    extractors, faults = try_features(config, corpus)
    rows = read_ledger(config, corpus, extractors=extractors)
    status = read_status(config, corpus, ledger=rows)
    unknown = [
        _unknown_cell(cell.dt, cell.feature, cell.clips, cell.values, cell.quarantined, 0)
        for cell in status.cells
        if cell.feature in faults
    ]
    return Ledger(
        corpus=corpus,
        features=tuple(sorted([*map(feature_name, extractors), *faults])),
        cells=(*_cells(rows), *unknown),
        freshness=tuple(
            Freshness(
                feature=fresh.feature,
                newest=fresh.newest,
                age_h=fresh.age_h,
                max_age_h=fresh.max_age_h,
                published=fresh.published,
                late=fresh.late,
            )
            for fresh in status.freshness
        ),
        faults=dict(faults),
    )


def _cells(rows: pl.DataFrame) -> Iterator[Cell]:
    totals = rows.group_by("partition", "feature").agg(pl.col("clips", "samples", "quarantined", "nbytes").sum())
    by_state = rows.group_by("partition", "feature", "state", "reason").agg(pl.len().alias("shards"))
    found: dict[tuple[str, str], list[Reason]] = {}
    for dt, feature, state, why, shards in by_state.sort("shards", "reason", descending=[True, False]).iter_rows():
        found.setdefault((dt, feature), []).append(Reason(state=state, shards=shards, why=why))
    for dt, feature, *counts in totals.sort("partition", "feature").iter_rows():
        yield _cell(dt, feature, counts, found[dt, feature])


def _cell(dt: str, feature: str, counts: list[int], reasons: list[Reason]) -> Cell:
    clips, values, quarantined, nbytes = counts
    shards: dict[str, int] = {}
    for reason in reasons:
        shards[reason.state] = shards.get(reason.state, 0) + reason.shards
    worst = next((state for state in _WORST if state in shards), str(State.COMPLETE))
    is_absent = worst == State.COMPLETE and not values
    words = ", ".join(f"{count} {state}" for state, count in sorted(shards.items(), key=lambda pair: -pair[1]))
    return Cell(
        dt=dt,
        feature=feature,
        state="absent" if is_absent else worst,
        words="nothing to make" if is_absent else words,
        clips=clips,
        values=values,
        quarantined=quarantined,
        nbytes=nbytes,
        reasons=tuple(reason for reason in reasons if reason.state != State.COMPLETE)[:_MOST_REASONS],
    )


def _unknown_cell(dt: str, feature: str, clips: int, values: int, quarantined: int, nbytes: int) -> Cell:
    return Cell(
        dt=dt,
        feature=feature,
        state="unknown",
        words="unknown",
        clips=clips,
        values=values,
        quarantined=quarantined,
        nbytes=nbytes,
    )


def _unjudged(layout: StoreLayout, corpus: str) -> Ledger:
    """Return what the heads hold, where no config says what should be there."""
    names = layout.feature_names(corpus)
    cells = [
        _unknown_cell(dt, name, spine, samples, quarantined, nbytes)
        for name in names
        for dt, spine, samples, quarantined, nbytes in read_heads(layout.dataset(corpus, name))
        .group_by("partition")
        .agg(
            pl.col("spine").sum(),
            pl.col("samples").sum(),
            pl.col("quarantined").sum(),
            (pl.col("data_nbytes") + pl.col("index_nbytes")).sum().alias("nbytes"),
        )
        .iter_rows()
    ]
    faults: Mapping[str, str] = {counted(len(names), "feature"): _NOT_CONFIGURED}
    return Ledger(corpus=corpus, features=names, cells=tuple(cells), faults=dict(faults))
