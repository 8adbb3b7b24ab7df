"""Intervals by resampling groups, not clips: clips of one speaker err together.

On real speech the interval over speakers is three to seven times as wide as the one over clips.
Axes: D draws, G groups, K classes, M models, N clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mmpipe.evaluate.predictions import Predictions

CHUNK_CELLS = 4_000_000  # weights held at once: 32 MB


class Measure(StrEnum):
    """What an interval speaks of."""

    ACCURACY = "accuracy"
    MACRO_F1 = "macro_f1"  # over the classes that occur in the draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the central share `confidence` of its resamples."""

    estimate: float
    low: float
    high: float
    confidence: float
    num_groups: int
    draws: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resamples:
    """Models measured on the same resamples of the same groups, so that their differences are paired."""

    names: tuple[str, ...]
    num_groups: int
    estimates: Mapping[Measure, np.ndarray]  # [M]
    draws: Mapping[Measure, np.ndarray]  # [D, M]

    def interval(self, name: str, measure: Measure, confidence: float) -> Interval:
        """Return the interval of one model's worth."""
        column = self.names.index(name)
        return self._summarise(self.estimates[measure][column], self.draws[measure][:, column], confidence)

    def difference(self, first: str, second: str, measure: Measure, confidence: float) -> Interval:
        """Return the interval of what the first model has over the second."""
        a, b = self.names.index(first), self.names.index(second)
        estimates, draws = self.estimates[measure], self.draws[measure]
        return self._summarise(estimates[a] - estimates[b], draws[:, a] - draws[:, b], confidence)

    def _summarise(self, estimate: float, draws_D: np.ndarray, confidence: float) -> Interval:
        low, high = np.quantile(draws_D, [(1 - confidence) / 2, (1 + confidence) / 2])
        return Interval(
            estimate=float(estimate),
            low=float(low),
            high=float(high),
            confidence=confidence,
            num_groups=self.num_groups,
            draws=len(draws_D),
        )


def resample(models: Mapping[str, Predictions], *, draws: int, seed: int) -> Resamples:
    """Measure models, given on the same clips, on `draws` resamples of the clips' groups, drawn with replacement.

    A resample is a vector of group weights, so all of them are one matrix product with counts per group.
    """
    tally = _Tally.of(models)
    chunks = [
        tally.measure(weights_DG) for weights_DG in draw_weights(len(tally.size_G), draws, np.random.default_rng(seed))
    ]
    estimates = tally.measure(np.ones((1, len(tally.size_G))))
    return Resamples(
        names=tuple(models),
        num_groups=len(tally.size_G),
        estimates={measure: values[0] for measure, values in estimates.items()},
        draws={measure: np.concatenate([chunk[measure] for chunk in chunks]) for measure in Measure},
    )


def worth_interval(
    predictions: Predictions,
    *,
    measure: Measure = Measure.ACCURACY,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the interval of one model's worth, clustered by group."""
    return resample({"model": predictions}, draws=draws, seed=seed).interval("model", measure, confidence)


def paired_difference(
    first: Predictions,
    second: Predictions,
    *,
    measure: Measure = Measure.ACCURACY,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the interval of `first - second` on the same clips, clustered by group."""
    models = {"first": first, "second": second.aligned_to(first.keys)}
    return resample(models, draws=draws, seed=seed).difference("first", "second", measure, confidence)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tally:
    """Counts per group: all that accuracy and F1 need."""

    size_G: np.ndarray
    true_GK: np.ndarray
    hits: tuple[np.ndarray, ...]  # per model [G, K]: clips of class k that were called k
    called: tuple[np.ndarray, ...]  # per model [G, K]: clips that were called k

    @classmethod
    def of(cls, models: Mapping[str, Predictions]) -> _Tally:
        first = next(iter(models.values()))
        for name, model in models.items():
            if model.keys != first.keys or not np.array_equal(model.labels_N, first.labels_N):
                raise ValueError(f"{name} was not measured on the same clips and labels as {next(iter(models))}")
        _, group_N = np.unique(np.array(first.groups), return_inverse=True)
        shape = (int(group_N.max()) + 1, len(first.classes))
        return cls(
            size_G=np.bincount(group_N).astype(float),
            true_GK=_count(group_N, first.labels_N, shape),
            hits=tuple(_count(group_N[m.correct_N], m.labels_N[m.correct_N], shape) for m in models.values()),
            called=tuple(_count(group_N, m.predicted_N, shape) for m in models.values()),
        )

    def measure(self, weights_DG: np.ndarray) -> dict[Measure, np.ndarray]:
        """Return each measure [D, M] under each row of group weights."""
        size_D = weights_DG @ self.size_G
        true_DK = weights_DG @ self.true_GK
        accuracy, macro_f1 = [], []
        for hits_GK, called_GK in zip(self.hits, self.called, strict=True):
            hits_DK = weights_DG @ hits_GK
            accuracy.append(hits_DK.sum(axis=1) / size_D)
            f1_DK = 2 * hits_DK / np.maximum(true_DK + weights_DG @ called_GK, 1)
            macro_f1.append((f1_DK * (true_DK > 0)).sum(axis=1) / (true_DK > 0).sum(axis=1))
        return {Measure.ACCURACY: np.stack(accuracy, axis=1), Measure.MACRO_F1: np.stack(macro_f1, axis=1)}


def _count(group_N: np.ndarray, class_N: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    flat = np.bincount(group_N * shape[1] + class_N, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(float)


def draw_weights(num_groups: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield multinomial weights [D, G] in chunks; counting drawn indices is many times faster than `multinomial`."""
    chunk = max(1, CHUNK_CELLS // num_groups)
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        cell = rng.integers(num_groups, size=(rows, num_groups)) + num_groups * np.arange(rows)[:, None]
        yield np.bincount(cell.ravel(), minlength=rows * num_groups).reshape(rows, num_groups).astype(float)
