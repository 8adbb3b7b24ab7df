from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss, recall_score

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.metrics import calibration_error, measure
from mmpipe.io import canonical_json


def predictions_of(labels: list[int], probabilities: list[list[float]], classes: str = "abc") -> ClassAnswers:
    keys = tuple(f"k{n:04}" for n in range(len(labels)))
    return ClassAnswers(
        keys=keys,
        groups=keys,
        labels_N=np.array(labels),
        probabilities_NK=np.array(probabilities),
        classes=tuple(classes[: len(probabilities[0])]),
    )


def random_predictions(num_clips: int = 400, num_classes: int = 5) -> ClassAnswers:
    rng = np.random.default_rng(1)
    labels_N = rng.integers(num_classes, size=num_clips)
    probabilities_NK = rng.dirichlet(np.ones(num_classes), num_clips) + np.eye(num_classes)[labels_N] * 0.4
    probabilities_NK /= probabilities_NK.sum(axis=1, keepdims=True)
    return predictions_of(labels_N.tolist(), probabilities_NK.tolist(), "abcdefgh")


def test_agrees_with_scikit_learn() -> None:
    predictions = random_predictions()
    metrics = measure(predictions)
    truth, said = predictions.labels_N, predictions.predicted_N
    assert metrics.accuracy == pytest.approx(accuracy_score(truth, said))
    assert metrics.micro.f1 == pytest.approx(metrics.accuracy)
    assert metrics.macro.f1 == pytest.approx(f1_score(truth, said, average="macro"))
    assert metrics.weighted.f1 == pytest.approx(f1_score(truth, said, average="weighted"))
    assert metrics.weighted.recall == pytest.approx(metrics.accuracy)
    assert [row.recall for row in metrics.per_class] == pytest.approx(recall_score(truth, said, average=None).tolist())
    assert metrics.negative_log_likelihood == pytest.approx(log_loss(truth, predictions.probabilities_NK))
    assert metrics.brier == pytest.approx(brier_score_loss(truth, predictions.probabilities_NK, scale_by_half=False))
    assert sum(map(sum, metrics.confusion)) == metrics.num_clips == 400


def test_by_hand() -> None:
    metrics = measure(predictions_of([0, 0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]))
    assert metrics.confusion == ((1, 1), (0, 2))
    assert metrics.accuracy == 0.75
    assert metrics.per_class[0].precision == 1 and metrics.per_class[0].recall == 0.5
    assert metrics.per_class[1].f1 == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert metrics.brier == pytest.approx((0.02 + 0.72 + 0.08 + 0.18) / 4)


def test_calibration_error_by_hand() -> None:
    # Bin of 0.6: one of two right, gap 0.1; bin of 1.0: right, gap 0.
    predictions = predictions_of([0, 1, 0], [[0.6, 0.4], [0.6, 0.4], [1.0, 0.0]])
    assert calibration_error(predictions) == pytest.approx(2 / 3 * 0.1)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    # 0.6 = 9/15 and 0.59 share a bin (8/15, 9/15]: (0.6 + 0.59 - 1) / 2 = 0.095.
    assert calibration_error(predictions_of([0, 1], [[0.6, 0.4], [0.59, 0.41]])) == pytest.approx(0.095)


def test_a_class_that_does_not_occur_is_listed_but_not_averaged() -> None:
    metrics = measure(predictions_of([0, 1], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]))
    assert len(metrics.per_class) == 3 and metrics.per_class[2].support == 0
    assert metrics.macro.f1 == 1.0


def test_a_zero_probability_stays_finite_and_the_numbers_are_canonical() -> None:
    metrics = measure(predictions_of([0], [[0.0, 1.0]]))
    assert 27 < metrics.negative_log_likelihood < 28
    assert canonical_json(metrics.as_json()) == canonical_json(measure(predictions_of([0], [[0.0, 1.0]])).as_json())
