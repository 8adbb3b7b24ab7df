"""Intervals by resampling groups, not clips: clips of one speaker err together.

On real speech the interval over speakers is three to seven times as wide as the one over clips.
Axes: D draws, G groups, K classes, M models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.interval import Interval, draw_weights


class Measure(StrEnum):
    """What an interval speaks of."""

    WORTH = "worth"  # what the goal is measured by: accuracy, R2, word accuracy
    MACRO_F1 = "macro_f1"  # of classes alone: over those that occur in the draw


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


def resample(models: Mapping[str, Answers], *, draws: int, seed: int) -> Resamples:
    """Measure models, given on the same clips, on `draws` resamples of the clips' groups, drawn with replacement.

    A resample is a vector of group weights, so all of them are one matrix product with sums per group.
    """
    tallies = _tallies(models)
    num_groups = len(next(iter(tallies.values())).size_G)
    rng = np.random.default_rng(seed)
    drawn: dict[Measure, list[np.ndarray]] = {measure: [] for measure in tallies}
    for weights_DG in draw_weights(num_groups, draws, rng):
        for measure, tally in tallies.items():
            drawn[measure].append(tally.measure(weights_DG))
    once = np.ones((1, num_groups))
    return Resamples(
        names=tuple(models),
        num_groups=num_groups,
        estimates={measure: tally.measure(once)[0] for measure, tally in tallies.items()},
        draws={measure: np.concatenate(chunks) for measure, chunks in drawn.items()},
    )


def worth_interval(
    answers: Answers,
    *,
    measure: Measure = Measure.WORTH,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the interval of one model's worth, clustered by group."""
    return resample({"model": answers}, draws=draws, seed=seed).interval("model", measure, confidence)


def paired_difference(
    first: Answers,
    second: Answers,
    *,
    measure: Measure = Measure.WORTH,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the interval of `first - second` on the same clips, clustered by group."""
    models = {"first": first, "second": second.aligned_to(first.keys)}
    return resample(models, draws=draws, seed=seed).difference("first", "second", measure, confidence)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Worth:
    """Sums per group of what clips are worth: all that a mean needs."""

    size_G: np.ndarray
    worth_GM: np.ndarray

    def measure(self, weights_DG: np.ndarray) -> np.ndarray:
        """Return the mean worth [D, M] under each row of group weights."""
        return weights_DG @ self.worth_GM / (weights_DG @ self.size_G)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _MacroF1:
    """Counts per group: all that F1 needs."""

    size_G: np.ndarray
    true_GK: np.ndarray
    hits: tuple[np.ndarray, ...]  # per model [G, K]: clips of class k that were called k
    called: tuple[np.ndarray, ...]  # per model [G, K]: clips that were called k

    def measure(self, weights_DG: np.ndarray) -> np.ndarray:
        """Return the mean F1 of the classes that occur [D, M] under each row of group weights."""
        true_DK = weights_DG @ self.true_GK
        found = []
        for hits_GK, called_GK in zip(self.hits, self.called, strict=True):
            f1_DK = 2 * (weights_DG @ hits_GK) / np.maximum(true_DK + weights_DG @ called_GK, 1)
            found.append((f1_DK * (true_DK > 0)).sum(axis=1) / (true_DK > 0).sum(axis=1))
        return np.stack(found, axis=1)


def _tallies(models: Mapping[str, Answers]) -> dict[Measure, _Worth | _MacroF1]:
    first = next(iter(models.values()))
    for name, model in models.items():
        if model.keys != first.keys or not np.array_equal(model.truth_N, first.truth_N, equal_nan=_can_be_nan(first)):
            raise ValueError(f"{name} was not measured on the same clips and labels as {next(iter(models))}")
    _, group_N = np.unique(np.array(first.groups), return_inverse=True)
    size_G = np.bincount(group_N).astype(float)
    worth_GM = np.stack([np.bincount(group_N, weights=model.worth_N) for model in models.values()], axis=1)
    found: dict[Measure, _Worth | _MacroF1] = {Measure.WORTH: _Worth(size_G=size_G, worth_GM=worth_GM)}
    every = [model for model in models.values() if isinstance(model, ClassAnswers)]
    if len(every) == len(models):
        shape = (len(size_G), len(every[0].classes))
        found[Measure.MACRO_F1] = _MacroF1(
            size_G=size_G,
            true_GK=_count(group_N, every[0].labels_N, shape),
            hits=tuple(_count(group_N[m.correct_N], m.labels_N[m.correct_N], shape) for m in every),
            called=tuple(_count(group_N, m.predicted_N, shape) for m in every),
        )
    return found


def _can_be_nan(answers: Answers) -> bool:
    return np.issubdtype(answers.truth_N.dtype, np.floating)


def _count(group_N: np.ndarray, class_N: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    flat = np.bincount(group_N * shape[1] + class_N, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(float)
