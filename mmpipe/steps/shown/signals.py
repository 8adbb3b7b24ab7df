"""Show how the clips look and sound, as histograms; and what of it the newest date does otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from mmpipe.report.drift import DriftRow, DriftShown, shift_of
from mmpipe.report.histograms import HistogramShown, histogram_of
from mmpipe.steps.shown.values import look_at_values
from mmpipe.store.layout import SIGNALS, StoreLayout
from mmpipe.store.signals import SIGNAL_COLUMNS, read_signals
from mmpipe.store.signalscard import MEANING

_MOST_VALUES = 256  # clips of a date whose values are compared
_DURATION = "duration_s"
_LEFT_OUT = ("language_confidence",)
NUMBERS = tuple(
    name for name, kind in SIGNAL_COLUMNS.items() if kind in (pl.Float64, pl.Int64) and name not in _LEFT_OUT
)


def signals_of(layout: StoreLayout, corpus: str, live: pl.DataFrame) -> pl.DataFrame:
    """Return the numbers of live clips with their dates: all that was measured, or the durations alone."""
    lengths = live.select("key", "partition", duration_s=(pl.col("end_ns") - pl.col("start_ns")) / 1e9)
    if SIGNALS not in layout.dataset_names(corpus):
        return lengths
    found = read_signals(layout, corpus).select("key", *(name for name in NUMBERS if name != _DURATION))
    return lengths.join(found.unique("key", keep="last"), on="key", how="left")


def dates_until(live: pl.DataFrame, dt: str) -> list[str]:
    """Return the dates that have clips, up to that of the page, oldest first."""
    return sorted(date for date in set(live["partition"]) if date <= dt)


def show_signals(signals: pl.DataFrame, singled_out: str) -> tuple[HistogramShown, ...]:
    """Return a histogram of each number that is not the same in all clips, with a line for one date, if any."""
    newest = signals.filter(pl.col("partition") == singled_out) if singled_out else None
    shown = []
    for name in _columns(signals):
        values_N = _numbers(signals, name)
        known_N = values_N[np.isfinite(values_N)]
        if len(known_N) and (known_N.min() < known_N.max() or name == _DURATION):
            fresh_N = None if newest is None else _numbers(newest, name)
            shown.append(histogram_of(name, MEANING[name], values_N, fresh_N))
    return tuple(one for one in shown if one)


def show_drift(
    layout: StoreLayout, corpus: str, live: pl.DataFrame, signals: pl.DataFrame, features: tuple[str, ...], dt: str
) -> DriftShown | None:
    """Compare a date, or the last one before it with clips, with the one before that; None where there are no two."""
    dates = dates_until(live, dt)
    if len(dates) < 2:
        return None
    before, now = dates[-2:]
    rows = [*_feature_rows(layout, corpus, live, features, before, now), *_signal_rows(signals, before, now)]
    ordered = sorted(rows, key=lambda row: (row.kind, -row.shift.effect, row.name))
    return DriftShown(before=before, now=now, rows=tuple(ordered), asked="" if now == dt else dt)


def _feature_rows(
    layout: StoreLayout, corpus: str, live: pl.DataFrame, features: tuple[str, ...], before: str, now: str
) -> Iterator[DriftRow]:
    for feature in features:
        old, new = (look_at_values(layout, corpus, feature, live, _MOST_VALUES, (date,)) for date in (before, now))
        shift = shift_of(old.x_ND, new.x_ND) if old and new else None
        if old and new and shift:
            yield DriftRow(
                name=feature,
                kind="feature",
                before=f"norm {_norm(old.x_ND):.4g}",
                now=f"norm {_norm(new.x_ND):.4g}",
                shift=shift,
                num_before=len(old.x_ND),
                num_now=len(new.x_ND),
            )


def _signal_rows(signals: pl.DataFrame, before: str, now: str) -> Iterator[DriftRow]:
    old, new = (signals.filter(pl.col("partition") == date) for date in (before, now))
    for name in _columns(signals):
        old_N, new_N = (numbers[np.isfinite(numbers)] for numbers in (_numbers(old, name), _numbers(new, name)))
        shift = shift_of(old_N, new_N) if len(old_N) and len(new_N) else None
        if shift and (old_N.min() < old_N.max() or new_N.min() < new_N.max()):
            yield DriftRow(
                name=name,
                kind="signal",
                before=f"{float(np.median(old_N)):.4g}",
                now=f"{float(np.median(new_N)):.4g}",
                shift=shift,
                num_before=len(old_N),
                num_now=len(new_N),
            )


def _columns(signals: pl.DataFrame) -> list[str]:
    return [name for name in NUMBERS if name in signals.columns]


def _numbers(signals: pl.DataFrame, name: str) -> np.ndarray:
    return signals[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _norm(x_ND: np.ndarray) -> float:
    return float(np.linalg.norm(x_ND, axis=1).mean())
