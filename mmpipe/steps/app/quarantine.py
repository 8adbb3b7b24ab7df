"""The quarantine of a corpus, cut to what a page asks for."""

from __future__ import annotations

import polars as pl

from mmpipe.app.values.paging import paging_of
from mmpipe.app.values.quarantine import ROWS_PER_PAGE, Quarantine, QuarantineAsk, QuarantineRow, ReasonCount
from mmpipe.steps.quarantine.released import released_before
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine

_SEARCHED = ("file", "source_id", "clip_key", "feature", "detail", "code")
_SHOWN = [name for name in QuarantineRow.__dataclass_fields__ if name != "dt"]


def read_drops(layout: StoreLayout, corpus: str) -> pl.DataFrame:
    """Return every row, newest date first, with whether it was released before."""
    rows = read_quarantine(layout, corpus)
    rows = rows.with_columns(released_before=released_before(layout, corpus, rows))
    return rows.sort("partition", "stage", "code", "file", "clip_key", descending=[True, False, False, False, False])


def cut_quarantine(corpus: str, rows: pl.DataFrame, ask: QuarantineAsk) -> Quarantine:
    """Return a page of the rows that fit."""
    fitting = rows.filter(_fits(ask))
    paging = paging_of(fitting.height, ask.page, ROWS_PER_PAGE)
    shown = fitting.slice((paging.page - 1) * ROWS_PER_PAGE, ROWS_PER_PAGE)
    counts = rows.group_by("stage", "code").agg(pl.len().alias("count"), pl.col("partition").max().alias("newest"))
    return Quarantine(
        corpus=corpus,
        ask=ask,
        reasons=tuple(
            ReasonCount(**row) for row in counts.sort("count", "code", descending=[True, False]).iter_rows(named=True)
        ),
        rows=tuple(
            QuarantineRow(dt=row["partition"], **{name: row[name] for name in _SHOWN})
            for row in shown.iter_rows(named=True)
        ),
        paging=paging,
        total=rows.height,
    )


def _fits(ask: QuarantineAsk) -> pl.Expr:
    fits = pl.lit(True)
    for column, wanted in (("stage", ask.stage), ("code", ask.code), ("partition", ask.dt)):
        if wanted:
            fits = fits & (pl.col(column) == wanted)
    if ask.text:
        word = ask.text.lower()
        holds = [pl.col(name).str.to_lowercase().str.contains(word, literal=True) for name in _SEARCHED]
        fits = fits & pl.any_horizontal(holds)
    return fits
