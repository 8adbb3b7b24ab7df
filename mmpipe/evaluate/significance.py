"""Tests of the difference of two models on the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.classes import ClassAnswers

EXACT_GROUPS = 16  # up to 2**16 sign patterns are all tried; beyond, patterns are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTest:
    """Whether a difference is more than chance over groups; both p-values are two-sided."""

    num_groups: int
    num_better: int  # groups where the first model is better by more than the margin
    num_worse: int
    permutation_p: float  # sign flips of the groups' summed differences
    sign_p: float  # directions alone, ties left out


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """The exact McNemar test; it takes clips for independent, so it is reported and never decides."""

    only_first: int  # clips that only the first model got right
    only_second: int
    p: float


def group_test(
    first: Answers, second: Answers, *, margin: float = 0.0, draws: int = 10_000, seed: int = 0
) -> GroupTest:
    """Test `first - second > margin` over groups by flipping the signs of the groups' differences.

    Exact up to 16 groups. With fewer than six groups no outcome reaches a two-sided p of 0.05, and that is the truth.
    """
    second = second.aligned_to(first.keys)
    _, group_N = np.unique(np.array(first.groups), return_inverse=True)
    gain_N = first.worth_N - second.worth_N - margin
    gain_G = np.bincount(group_N, weights=gain_N)
    better, worse = int((gain_G > 1e-9).sum()), int((gain_G < -1e-9).sum())
    return GroupTest(
        num_groups=len(gain_G),
        num_better=better,
        num_worse=worse,
        permutation_p=_sign_flip_p(gain_G, draws, np.random.default_rng(seed)),
        sign_p=_even_odds_p(better, better + worse),
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values corrected for being tested together: no error among all of them (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = worst
    return tuple(corrected)


def mcnemar(first: ClassAnswers, second: ClassAnswers) -> McNemar:
    """Return the exact McNemar test of two models on the same clips."""
    second = second.aligned_to(first.keys)
    only_first = int((first.correct_N & ~second.correct_N).sum())
    only_second = int((~first.correct_N & second.correct_N).sum())
    discordant = only_first + only_second
    return McNemar(only_first=only_first, only_second=only_second, p=_even_odds_p(only_first, discordant))


def _even_odds_p(successes: int, trials: int) -> float:
    """Return the two-sided p of an exact test of even odds; 1 without trials."""
    from scipy.stats import binomtest  # half a second that a plan or a status need not pay

    return float(binomtest(successes, trials).pvalue) if trials else 1.0


def _sign_flip_p(gain_G: np.ndarray, draws: int, rng: np.random.Generator) -> float:
    num_groups = len(gain_G)
    observed = abs(gain_G.sum()) - 1e-9  # equal sums must count as equal, whatever the order of addition
    if num_groups <= EXACT_GROUPS:
        patterns = np.arange(2**num_groups)[:, None] >> np.arange(num_groups) & 1
        return float((np.abs((2 * patterns - 1) @ gain_G) >= observed).mean())
    signs = rng.integers(0, 2, size=(draws, num_groups)) * 2 - 1
    return float((1 + (np.abs(signs @ gain_G) >= observed).sum()) / (1 + draws))
