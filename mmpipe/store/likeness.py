"""How alike two versions of a feature are, clip by clip: pure, so that a canary and a whole comparison say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmpipe.store.drift import MAX_RATIO

NEIGHBOURS = 10
_FEWEST_CLIPS = 4  # with fewer, everybody is everybody's neighbour
_LOW_SHARE = 0.01  # of the clips that agree least
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What readers of the old values would notice; a sequence stands for its mean over time. None: not to be told."""

    clips: int  # with a value in both
    lost: int  # with a value in the old one alone
    gained: int
    equal: int  # to the last bit
    cosine_mean: float | None  # None: the widths differ
    cosine_low: float | None  # of the hundredth that agrees least
    mean_shift: float | None  # how far the mean value moved, in spreads of the old values
    neighbours_kept: float | None  # share of a clip's nearest clips that stay its nearest: also where widths differ
    norm_ratio: float | None  # new mean norm to old
    rows_ratio: float | None  # rows over time, new to old
    constant_old: int
    constant_new: int

    def warnings(self) -> Iterator[str]:
        """Yield what a person must look at before anybody reads the new values."""
        if self.lost:
            yield f"{self.lost} clips lose their value: look at them in the quarantine"
        if self.norm_ratio is not None and not 1 / MAX_RATIO <= self.norm_ratio <= MAX_RATIO:
            yield f"the mean norm is {self.norm_ratio:.3g} of what it was: models must learn the new scale"
        if self.constant_new > self.constant_old:
            yield f"{self.constant_new} values are constant, {self.constant_old} were"

    def table(self) -> list[dict[str, Any]]:
        """Return a row per figure."""
        about = {
            "clips": "clips with a value in both",
            "lost": "clips that lose their value",
            "gained": "clips that get one",
            "equal": "values equal to the last bit",
            "cosine_mean": "cosine, mean",
            "cosine_low": "cosine, lowest hundredth",
            "mean_shift": "shift of the mean, in old spreads",
            "neighbours_kept": f"nearest {NEIGHBOURS} clips kept",
            "norm_ratio": "mean norm, new to old",
            "rows_ratio": "rows over time, new to old",
            "constant_old": "constant values, old",
            "constant_new": "constant values, new",
        }
        figures = ((text, getattr(self, name)) for name, text in about.items())
        return [{"what": text, "value": "n/a" if value is None else value} for text, value in figures]


def compare_values(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> Likeness:
    """Compare values by clip key, each [D] or [T, D]."""
    both = sorted(old.keys() & new.keys())
    old_ND, new_ND = _means(old, both), _means(new, both)
    cosines_N = _cosines(old_ND, new_ND) if both and old_ND.shape == new_ND.shape else None
    norms = [np.linalg.norm(x_ND, axis=1).mean() if both else 0.0 for x_ND in (old_ND, new_ND)]
    rows = [sum(len(np.atleast_2d(values[key])) for key in both) for values in (old, new)]
    return Likeness(
        clips=len(both),
        lost=len(old.keys() - new.keys()),
        gained=len(new.keys() - old.keys()),
        equal=sum(_is_equal(old[key], new[key]) for key in both),
        cosine_mean=None if cosines_N is None else float(cosines_N.mean()),
        cosine_low=None if cosines_N is None else float(np.quantile(cosines_N, _LOW_SHARE)),
        mean_shift=None if cosines_N is None else _mean_shift(old_ND, new_ND),
        neighbours_kept=_neighbours_kept(old_ND, new_ND) if len(both) >= _FEWEST_CLIPS else None,
        norm_ratio=float(norms[1] / norms[0]) if norms[0] > _TINY else None,
        rows_ratio=rows[1] / rows[0] if rows[0] else None,
        constant_old=sum(_is_constant(old[key]) for key in both),
        constant_new=sum(_is_constant(new[key]) for key in both),
    )


def _means(values: Mapping[str, np.ndarray], keys: list[str]) -> np.ndarray:
    """Return a row of float64 per clip: its value, or the mean of its rows."""
    rows = [np.atleast_2d(values[key]).astype(np.float64).mean(axis=0) for key in keys]
    return np.stack(rows) if rows else np.empty((0, 0))


def _cosines(old_ND: np.ndarray, new_ND: np.ndarray) -> np.ndarray:
    """Return a cosine per clip; two zeros agree, and a zero agrees with nothing else."""
    lengths_N = np.linalg.norm(old_ND, axis=1) * np.linalg.norm(new_ND, axis=1)
    both_zero_N = (np.abs(old_ND).max(axis=1) <= _TINY) & (np.abs(new_ND).max(axis=1) <= _TINY)
    return np.where(both_zero_N, 1.0, (old_ND * new_ND).sum(axis=1) / np.maximum(lengths_N, _TINY))


def _mean_shift(old_ND: np.ndarray, new_ND: np.ndarray) -> float:
    spread = float(np.linalg.norm(old_ND.std(axis=0)))
    return float(np.linalg.norm(new_ND.mean(axis=0) - old_ND.mean(axis=0)) / max(spread, _TINY))


def _neighbours_kept(old_ND: np.ndarray, new_ND: np.ndarray) -> float:
    """Return the share of nearest clips (by cosine) that both agree on: it asks for no common space."""
    wanted = min(NEIGHBOURS, len(old_ND) // 2)
    pairs = zip(_nearest(old_ND, wanted), _nearest(new_ND, wanted), strict=True)
    return sum(len(set(before) & set(after)) for before, after in pairs) / (wanted * len(old_ND))


def _nearest(x_ND: np.ndarray, wanted: int) -> list[list[int]]:
    unit_ND = x_ND / np.maximum(np.linalg.norm(x_ND, axis=1, keepdims=True), _TINY)
    likeness_NN = unit_ND @ unit_ND.T
    np.fill_diagonal(likeness_NN, -np.inf)
    nearest: list[list[int]] = np.argsort(-likeness_NN, axis=1, kind="stable")[:, :wanted].tolist()
    return nearest


def _is_equal(one: np.ndarray, two: np.ndarray) -> bool:
    return one.shape == two.shape and one.dtype == two.dtype and one.tobytes() == two.tobytes()


def _is_constant(array: np.ndarray) -> bool:
    return array.size > 1 and bool((array == array.reshape(-1)[0]).all())
