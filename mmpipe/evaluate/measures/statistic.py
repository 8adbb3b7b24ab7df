"""A measure of weighted clips, and its interval by resampling their groups.

Where fewer draws than asked for have a value (a draw without any clip of a class has no AUROC), the interval is of
those that have one, and says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from mmpipe.evaluate.interval import CHUNK_CELLS, Interval, draw_weights

# Weights of clips [D, N] -> the measure under each row [D]; NaN where it is not defined there.
Statistic = Callable[[np.ndarray], np.ndarray]


def estimate(statistic: Statistic, num_clips: int) -> float:
    """Return a measure of the clips as they are, every one once; NaN where it is not defined."""
    return float(statistic(np.ones((1, num_clips)))[0])


def estimates(statistics: Mapping[str, Statistic], num_clips: int) -> dict[str, float]:
    """Return several measures of the same clips."""
    return {name: estimate(statistic, num_clips) for name, statistic in statistics.items()}


def intervals(
    statistics: Mapping[str, Statistic],
    groups: Sequence[str],
    *,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return measures with the interval of each, all on the same resamples of whole groups.

    A measure that is not defined on the clips as they are (one class only, for an AUROC) is left out.
    """
    _, group_N = np.unique(np.array(groups), return_inverse=True)
    num_groups = int(group_N.max()) + 1
    known = {name: value for name, value in estimates(statistics, len(group_N)).items() if np.isfinite(value)}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in known}
    for weights_DN in _clip_weights(group_N, num_groups, draws, seed):
        for name in known:
            drawn[name].append(statistics[name](weights_DN))
    return {
        name: _interval(value, np.concatenate(drawn[name]), confidence, num_groups) for name, value in known.items()
    }


def interval(
    statistic: Statistic, groups: Sequence[str], *, confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> Interval | None:
    """Return one measure with its interval; None where it is not defined on these clips."""
    return intervals({"it": statistic}, groups, confidence=confidence, draws=draws, seed=seed).get("it")


def mean_of(values_N: np.ndarray) -> Statistic:
    """Return the weighted mean of a value per clip; a NaN is a clip that has none."""
    known_N = np.isfinite(values_N)
    return ratio_of(np.where(known_N, values_N, 0.0), known_N)


def ratio_of(above_N: np.ndarray, below_N: np.ndarray) -> Statistic:
    """Return the weighted sum of one value over that of another."""
    above_N, below_N = above_N.astype(float), below_N.astype(float)
    return lambda weights_DN: divided(weights_DN @ above_N, weights_DN @ below_N)


def linear_ratio(above_N: np.ndarray, below_N: np.ndarray) -> np.ndarray:
    """Return, per clip, the ratio of sums R plus the clip's influence on it: R + (above - R below) / mean(below).

    Its mean is R itself, and its spread over resamples is that of the delta method (Cochran 1977, chapter 6).
    """
    below = float(np.mean(below_N))
    ratio = float(np.mean(above_N)) / below if below else 0.0
    return ratio + (above_N - ratio * below_N) / (below or 1.0)


def by_rows(function: Callable[[np.ndarray], float]) -> Statistic:
    """Return the statistic of a function of row numbers, each row as often as it was drawn: for medians."""
    return lambda weights_DN: np.array(
        [function(np.repeat(np.arange(len(row_N)), row_N.astype(np.int64))) for row_N in weights_DN]
    )


def mean_over(statistics: Sequence[Statistic]) -> Statistic:
    """Return the mean of those statistics that are defined: a macro average over the classes that occur."""

    def mean(weights_DN: np.ndarray) -> np.ndarray:
        values_KD = np.array([statistic(weights_DN) for statistic in statistics]).reshape(-1, len(weights_DN))
        known_KD = np.isfinite(values_KD)
        return divided(np.where(known_KD, values_KD, 0.0).sum(axis=0), known_KD.sum(axis=0))

    return mean


def divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)


def _clip_weights(group_N: np.ndarray, num_groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield weights [D, N]: a clip is drawn as often as its group, at most CHUNK_CELLS numbers at once."""
    rows = max(1, CHUNK_CELLS // len(group_N))
    for weights_DG in draw_weights(num_groups, draws, np.random.default_rng(seed)):
        for start in range(0, len(weights_DG), rows):
            yield weights_DG[start : start + rows, group_N]


def _interval(value: float, draws_D: np.ndarray, confidence: float, num_groups: int) -> Interval:
    known_D = draws_D[np.isfinite(draws_D)]
    low, high = np.quantile(known_D, [(1 - confidence) / 2, (1 + confidence) / 2]) if len(known_D) else (value, value)
    return Interval(
        estimate=value,
        low=float(low),
        high=float(high),
        confidence=confidence,
        num_groups=num_groups,
        draws=len(known_D),
    )
