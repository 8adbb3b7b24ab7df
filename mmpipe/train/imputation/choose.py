"""What each imputer may choose, chosen on training clips that were held back in turn; then it learns from all.

Nothing is chosen on the clips that it is judged by: see `compare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from mmpipe.config import Imputation
from mmpipe.fusion.imputers.base import Imputer
from mmpipe.train.imputation.error import held_out_errors
from mmpipe.train.imputation.gan import GanSettings, fit_gan
from mmpipe.train.imputation.observed import Observed
from mmpipe.train.imputation.simple import NEIGHBOURS, PENALTIES, fit_mean, fit_nearest, fit_ridge
from mmpipe.types import fraction_of

FOLDS = 3  # one held-back speaker alone says little: another is as far from the rest in another way
LOOK_EVERY = 100  # steps of the game
GAN_CHOICES = (
    GanSettings(distance_weight=300, dropout=0.5, input_noise=0.5),
    GanSettings(distance_weight=100, dropout=0.2, input_noise=0.2),
)

Folds = Sequence[tuple[Observed, Observed]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """An imputer, and what was chosen about it."""

    imputer: Imputer
    settings: Mapping[str, float | str]
    game: GanSettings | None = None  # of a generator, the same as a value


def fit_chosen(method: Imputation, data: Observed, seed: int, choices: Iterable[GanSettings] = GAN_CHOICES) -> Fitted:
    """Fit an imputer with the settings that do best on groups of the clips that were held back."""
    if method is Imputation.MEAN:
        return Fitted(imputer=fit_mean(data), settings={})
    folds = list(hold_back(data))
    if method is Imputation.RIDGE:
        penalty = min(PENALTIES, key=lambda one: sum(_error(fit_ridge(learn, one), look) for learn, look in folds))
        return Fitted(imputer=fit_ridge(data, penalty), settings={"penalty": penalty})
    if method is Imputation.KNN:
        neighbours = min(
            NEIGHBOURS, key=lambda one: sum(_error(fit_nearest(learn, one), look) for learn, look in folds)
        )
        return Fitted(imputer=fit_nearest(data, neighbours), settings={"neighbours": neighbours})
    settings = _best_game(folds, seed, choices)
    return Fitted(imputer=fit_gan(data, settings, seed), settings=settings.told(), game=settings)


def hold_back(data: Observed) -> Iterator[tuple[Observed, Observed]]:
    """Yield clips to learn from with those to choose on: whole groups dealt by hash, clips where there is one group."""
    names = sorted(set(data.groups_N.tolist()), key=lambda name: fraction_of("imputer", name))
    number_of = {name: number for number, name in enumerate(names)}
    numbers_N = np.array([number_of[name] for name in data.groups_N.tolist()])
    numbers_N = numbers_N if len(names) > 1 else np.arange(len(data))
    num_folds = min(FOLDS, int(numbers_N.max()) + 1)
    for fold in range(num_folds):
        is_held_N = numbers_N % num_folds == fold
        learn, look = data.take(np.flatnonzero(~is_held_N)), data.take(np.flatnonzero(is_held_N))
        if len(learn.pairs()) and len(look.pairs()):
            yield learn, look


def _best_game(folds: Folds, seed: int, choices: Iterable[GanSettings]) -> GanSettings:
    """Return the settings, with the number of steps, whose generators did best on the clips that were held back."""
    choices = tuple(choices)
    found: dict[GanSettings, list[float]] = {}
    for settings, (learn, look) in product(choices, folds):

        def told(step: int, imputer: Imputer, settings: GanSettings = settings, look: Observed = look) -> None:
            found.setdefault(replace(settings, steps=step), []).append(_error(imputer, look))

        fit_gan(learn, settings, seed, every=min(LOOK_EVERY, settings.steps), look=told)
    return min(found, key=lambda one: sum(found[one])) if found else choices[0]


def _error(imputer: Imputer, data: Observed) -> float:
    """Return the mean squared error on held-out modalities."""
    return float(held_out_errors(imputer, data).squared_E.mean())
