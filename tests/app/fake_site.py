"""A site of made-up values: a ledger of years of days, or nothing but an error."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from mmpipe.app.values.matrix import Cell, Ledger, Matrix, MatrixAsk, Reason, cut_matrix
from mmpipe.app.values.models import ModelList
from mmpipe.app.values.overview import Overview

FIRST = date(2025, 1, 1)


class FakeSite:
    """Answers a few questions without a store; the others it does not know."""

    def __init__(self, num_days: int = 0, num_features: int = 0, fault: Exception | None = None) -> None:
        self._ledger = make_ledger(num_days, num_features)
        self._fault = fault

    def overview(self) -> Overview:
        """Return an empty store."""
        return Overview(store="memory")

    def models(self) -> ModelList:
        """Return no model, or the fault."""
        if self._fault:
            raise self._fault
        return ModelList(models=())

    def matrix(self, corpus: str, ask: MatrixAsk) -> Matrix:
        """Return the made-up matrix."""
        return cut_matrix(self._ledger, ask)

    def __getattr__(self, name: str) -> Any:
        """Refuse all else."""
        raise AssertionError(f"nobody asks for {name}")


def make_ledger(num_days: int, num_features: int) -> Ledger:
    """Return a ledger whose every seventh day is stale."""
    features = tuple(f"feature-{number}@1" for number in range(num_features))
    return Ledger(
        corpus="years",
        features=features,
        cells=tuple(
            make_cell((FIRST + timedelta(days=day)).isoformat(), name, "stale" if day % 7 == 0 else "complete")
            for day in range(num_days)
            for name in features
        ),
    )


def make_cell(dt: str, feature: str, state: str) -> Cell:
    """Return one made-up cell."""
    reasons = () if state == "complete" else (Reason(state=state, shards=1, why="params: num_mels 64 -> 30"),)
    return Cell(
        dt=dt,
        feature=feature,
        state=state,
        words=f"1 {state}",
        clips=9,
        values=9,
        quarantined=0,
        nbytes=99,
        reasons=reasons,
    )
