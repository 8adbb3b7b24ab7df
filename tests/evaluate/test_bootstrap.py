from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.bootstrap import Measure, paired_difference, resample, worth_interval


def from_correct(correct_N: np.ndarray, groups: list[str] | None = None) -> ClassAnswers:
    """Return two-class predictions that are right where asked."""
    keys = tuple(f"k{n:05}" for n in range(len(correct_N)))
    labels_N = np.arange(len(correct_N)) % 2
    said_N = np.where(correct_N, labels_N, 1 - labels_N)
    return ClassAnswers(
        keys=keys,
        groups=tuple(groups or keys),
        labels_N=labels_N,
        probabilities_NK=np.eye(2)[said_N],
        classes=("a", "b"),
    )


def test_the_interval_over_clips_is_the_normal_one() -> None:
    correct_N = np.arange(2000) % 10 < 7
    interval = worth_interval(from_correct(correct_N))
    half = 1.96 * np.sqrt(0.7 * 0.3 / 2000)
    assert interval.estimate == pytest.approx(0.7)
    assert interval.low == pytest.approx(0.7 - half, abs=half * 0.06)
    assert interval.high == pytest.approx(0.7 + half, abs=half * 0.06)


def test_the_interval_over_groups_is_the_normal_one_of_group_means() -> None:
    rng = np.random.default_rng(3)
    skill_G = rng.uniform(0.4, 1.0, size=200)
    correct_N = (rng.random((200, 20)) < skill_G[:, None]).ravel()
    groups = [f"g{n // 20}" for n in range(4000)]
    interval = worth_interval(from_correct(correct_N, groups))
    spread = correct_N.reshape(200, 20).mean(axis=1).std() / np.sqrt(200)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * spread, rel=0.06)
    assert interval.num_groups == 200


def test_clips_of_one_group_are_one_witness() -> None:
    """Six speakers, three of them always better: over clips a sure gain, over speakers none."""
    groups = [f"speaker{n // 100}" for n in range(600)]
    better_N = np.repeat([True, True, True, True, False, False], 100)
    second_N = np.repeat([False, False, True, True, True, True], 100)
    second_N[:20] = True
    first, second = from_correct(better_N, groups), from_correct(second_N, groups)
    first_iid, second_iid = from_correct(better_N), from_correct(second_N)
    clustered = paired_difference(first, second)
    independent = paired_difference(first_iid, second_iid)
    assert (clustered.high - clustered.low) > 5 * (independent.high - independent.low)
    assert clustered.estimate == pytest.approx(independent.estimate) == pytest.approx(-20 / 600)
    assert clustered.low < 0 < clustered.high


def test_pairing_is_tighter_than_two_intervals() -> None:
    rng = np.random.default_rng(5)
    base_N = rng.random(1000) < 0.6
    better_N = base_N | (rng.random(1000) < 0.05)
    gain = paired_difference(from_correct(better_N), from_correct(base_N))
    alone = worth_interval(from_correct(base_N))
    assert gain.low > 0
    assert gain.high - gain.low < 0.6 * (alone.high - alone.low)


def test_groups_of_unequal_size_weigh_by_clips() -> None:
    groups = ["big"] * 90 + ["small"] * 10
    interval = worth_interval(from_correct(np.arange(100) < 90, groups), draws=2000)
    assert interval.estimate == pytest.approx(0.9)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_macro_f1_of_the_data_itself_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(8)
    labels_N = rng.integers(4, size=300)
    probabilities_NK = rng.dirichlet(np.ones(4), 300)
    keys = tuple(f"k{n}" for n in range(300))
    predictions = ClassAnswers(
        keys=keys, groups=keys, labels_N=labels_N, probabilities_NK=probabilities_NK, classes=tuple("abcd")
    )
    interval = worth_interval(predictions, measure=Measure.MACRO_F1, draws=500)
    assert interval.estimate == pytest.approx(f1_score(labels_N, predictions.predicted_N, average="macro"))
    assert interval.low < interval.estimate < interval.high


def test_the_seed_decides() -> None:
    predictions = from_correct(np.arange(50) % 3 > 0)
    first = worth_interval(predictions, seed=1)
    assert first == worth_interval(predictions, seed=1)
    assert first != worth_interval(predictions, seed=2)


def test_models_on_different_clips_are_not_compared() -> None:
    predictions = from_correct(np.ones(10, dtype=bool))
    with pytest.raises(ValueError, match="not measured on the same clips"):
        resample({"a": predictions, "b": predictions.take(np.arange(5))}, draws=10, seed=0)


def test_keys_in_another_order_are_paired_by_key() -> None:
    correct_N = np.arange(40) % 4 > 0
    predictions = from_correct(correct_N)
    shuffled = predictions.take(np.random.default_rng(0).permutation(40))
    gain = paired_difference(predictions, shuffled, draws=200)
    assert (gain.low, gain.estimate, gain.high) == (0.0, 0.0, 0.0)
