from __future__ import annotations

import numpy as np
import pytest

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.metrics import calibration_error, negative_log_likelihood
from mmpipe.evaluate.temperature import apply_temperature, choose_temperature, fit_temperature


def calibrated(num_clips: int = 4000, num_groups: int = 40, seed: int = 0) -> ClassAnswers:
    """Return predictions whose labels are drawn from their own probabilities."""
    rng = np.random.default_rng(seed)
    logits_NK = rng.normal(size=(num_clips, 4)) * 1.5
    probabilities_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(axis=1, keepdims=True)
    labels_N = (probabilities_NK.cumsum(axis=1) < rng.random((num_clips, 1))).sum(axis=1).clip(max=3)
    return ClassAnswers(
        keys=tuple(f"k{n:05}" for n in range(num_clips)),
        groups=tuple(f"g{n % num_groups}" for n in range(num_clips)),
        labels_N=labels_N,
        probabilities_NK=probabilities_NK,
        classes=tuple("abcd"),
    )


def test_overconfidence_is_undone() -> None:
    truth = calibrated()
    overconfident = apply_temperature(truth, 1 / 3)
    assert calibration_error(overconfident) > 0.15
    assert fit_temperature(overconfident) == pytest.approx(3, rel=0.05)
    choice = choose_temperature(overconfident)
    assert choice.helps and choice.temperature == choice.fitted
    repaired = apply_temperature(overconfident, choice.temperature)
    assert calibration_error(repaired) < 0.04
    assert negative_log_likelihood(repaired) < negative_log_likelihood(overconfident)
    assert np.array_equal(repaired.predicted_N, overconfident.predicted_N)


def test_one_stays_where_a_temperature_does_not_help_other_groups() -> None:
    # Every group is off in its own direction: what fits some harms the rest.
    hot, cold = apply_temperature(calibrated(60, 1, seed=1), 0.25), apply_temperature(calibrated(60, 1, seed=2), 4)
    both = ClassAnswers(
        keys=tuple(f"k{n}" for n in range(120)),
        groups=("hot",) * 60 + ("cold",) * 60,
        labels_N=np.concatenate([hot.labels_N, cold.labels_N]),
        probabilities_NK=np.concatenate([hot.probabilities_NK, cold.probabilities_NK]),
        classes=hot.classes,
    )
    choice = choose_temperature(both)
    assert not choice.helps and choice.temperature == 1.0
    assert choice.fitted != 1.0 and choice.likelihood_after > choice.likelihood_before


def test_one_group_alone_proves_nothing() -> None:
    choice = choose_temperature(apply_temperature(calibrated(400, 1), 0.3))
    assert choice.temperature == 1.0 and "one group" in choice.reason and choice.fitted > 2


def test_is_deterministic_and_knows_zero_probabilities() -> None:
    predictions = apply_temperature(calibrated(300, 10), 0.05)
    assert choose_temperature(predictions) == choose_temperature(predictions)
    assert np.isfinite(apply_temperature(predictions, 20).probabilities_NK).all()
    with pytest.raises(ValueError, match="> 0"):
        apply_temperature(predictions, 0)
