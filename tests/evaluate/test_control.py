from __future__ import annotations

import numpy as np
import pytest

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.control import bound_control


def control(labels_N: np.ndarray, said_N: np.ndarray, num_classes: int) -> ClassAnswers:
    keys = tuple(f"k{n:05}" for n in range(len(labels_N)))
    return ClassAnswers(
        keys=keys,
        groups=tuple(f"g{n // 20}" for n in range(len(labels_N))),
        labels_N=labels_N,
        probabilities_NK=np.eye(num_classes)[said_N],
        classes=tuple(str(k) for k in range(num_classes)),
    )


def holds(labels_N: np.ndarray, said_N: np.ndarray, num_classes: int, judged: float = 0.9) -> bool:
    bound = bound_control(
        control(labels_N, said_N, num_classes), judged_accuracy=judged, confidence=0.95, draws=1000, seed=0
    )
    return bound.accuracy <= bound.limit


@pytest.mark.parametrize("num_classes", [2, 3, 10, 40])
def test_random_answers_pass_and_right_answers_do_not(num_classes: int) -> None:
    rng = np.random.default_rng(0)
    labels_N = np.arange(1200) % num_classes
    passes = [holds(labels_N, rng.integers(num_classes, size=1200), num_classes) for _ in range(20)]
    assert sum(passes) >= 18
    right_N = np.where(rng.random(1200) < 0.8, labels_N, rng.integers(num_classes, size=1200))
    assert not holds(labels_N, right_N, num_classes)


def test_one_who_always_names_the_most_frequent_class_is_at_chance() -> None:
    labels_N = (np.arange(1000) % 10 == 0).astype(int)
    assert holds(labels_N, np.zeros(1000, dtype=int), 2)


def test_a_class_called_by_its_name_by_accident_is_no_leak() -> None:
    """A control that answers by class, names drawn by lot: two of ten right names give accuracy 0.2 on any clips."""
    labels_N = np.arange(2000) % 10
    names = np.array([0, 1, 3, 4, 5, 6, 7, 8, 9, 2])
    assert holds(labels_N, names[labels_N], 10, judged=0.25)


def test_chance_knows_uneven_classes() -> None:
    labels_N = (np.arange(1000) % 4 == 0).astype(int)
    bound = bound_control(
        control(labels_N, np.arange(1000) % 2, 2), judged_accuracy=0.9, confidence=0.95, draws=500, seed=0
    )
    assert bound.chance == pytest.approx(0.5)
