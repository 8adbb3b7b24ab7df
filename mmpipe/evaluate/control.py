"""Is a model that learnt shuffled labels at chance, as it must be?"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.bootstrap import worth_interval

TELLING_CLASSES = 4  # with fewer, some renaming of the classes explains any accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlBound:
    """The accuracy of the control, and the most that chance explains."""

    accuracy: float
    chance: float
    limit: float


def bound_control(
    control: ClassAnswers, *, judged_accuracy: float, confidence: float, draws: int, seed: int
) -> ControlBound:
    """Return what chance explains of a control: a model trained on shuffled labels, measured on true ones.

    Chance is the accuracy of its answers if they were independent of the truth. The noise around it is the largest of
    three: of single clips (binomial), of groups (cluster bootstrap), and of names: such a model may by accident call a
    whole class by its right name, so one clip more says nothing new. The last is the spread of the accuracy when the
    answers' names are permuted. Two or three classes have too few names to permute; there the control may keep up to
    half of what the judged model has over chance, because a leak keeps nearly all of it.
    """
    counts_KK = _confusion(control)
    num_clips, num_classes = counts_KK.sum(), len(control.classes)
    chance = float((counts_KK.sum(axis=0) @ counts_KK.sum(axis=1)) / num_clips**2)
    interval = worth_interval(control, confidence=confidence, draws=draws, seed=seed)
    reach = NormalDist().inv_cdf((1 + confidence) / 2)
    limit = chance + max(reach * float(np.sqrt(chance * (1 - chance) / num_clips)), interval.estimate - interval.low)
    if num_classes >= TELLING_CLASSES:
        limit = max(limit, chance + reach * _spread_of_names(counts_KK / num_clips))
    else:
        limit = max(limit, chance + (judged_accuracy - chance) / 2)
    return ControlBound(accuracy=interval.estimate, chance=chance, limit=limit)


def _confusion(predictions: ClassAnswers) -> np.ndarray:
    num_classes = len(predictions.classes)
    flat = np.bincount(predictions.labels_N * num_classes + predictions.predicted_N, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).astype(float)


def _spread_of_names(share_KK: np.ndarray) -> float:
    """Return the standard deviation of the trace under a random permutation of the columns (Hoeffding 1951)."""
    centred_KK = share_KK - share_KK.mean(axis=0) - share_KK.mean(axis=1, keepdims=True) + share_KK.mean()
    return float(np.sqrt((centred_KK**2).sum() / (len(share_KK) - 1)))
