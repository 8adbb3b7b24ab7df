"""Answers that are tags: their worth, the constant answer, and their file."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.config import Goal
from mmpipe.evaluate.answers.base import join
from mmpipe.evaluate.answers.files import from_parquet, to_parquet
from mmpipe.evaluate.answers.tags import TagAnswers
from mmpipe.evaluate.figures import measure_all
from mmpipe.evaluate.measures.statistic import estimate

TAGS = ("B-PER", "I-PER", "O")


def answers(truth, said, tags=TAGS, first: int = 0) -> TagAnswers:
    keys = tuple(f"clip{number:03d}" for number in range(first, first + len(truth)))
    return TagAnswers(
        keys=keys, groups=keys, truth_NT=np.array(truth), said_NT=np.array(said), classes=tags
    )  # fmt: skip


def random_answers(num_clips: int = 60, tags=TAGS, seed: int = 0) -> TagAnswers:
    rng = np.random.default_rng(seed)
    truth_NT = rng.integers(0, len(tags), (num_clips, 8))
    truth_NT[np.arange(8) >= rng.integers(1, 9, num_clips)[:, None]] = -1
    said_NT = np.where(rng.random(truth_NT.shape) < 0.7, truth_NT, rng.integers(0, len(tags), truth_NT.shape))
    return answers(truth_NT, said_NT, tags)


@pytest.mark.parametrize(("tags", "name"), [(TAGS, "entity_micro_f1"), (("DET", "NOUN", "VERB"), "word_accuracy")])
def test_the_worth_is_the_measure_and_varies_as_it_does(tags: tuple[str, ...], name: str) -> None:
    made = random_answers(400, tags)
    measure = made.statistics()[name]
    assert made.worth == pytest.approx(estimate(measure, 400), abs=1e-12)
    rng = np.random.default_rng(1)
    weights_DN = rng.multinomial(400, np.full(400, 1 / 400), 300).astype(float)
    real_D, linear_D = measure(weights_DN), weights_DN @ made.worth_N / 400
    assert linear_D.std() == pytest.approx(real_D.std(), rel=0.1)
    assert np.corrcoef(real_D, linear_D)[0, 1] > 0.99


def test_right_answers_are_worth_one_and_wrong_ones_nothing() -> None:
    truth = [[0, 1, 2], [2, 0, -1]]
    assert answers(truth, truth).worth == 1
    assert answers(truth, [[2, 2, 2], [0, 2, 2]]).worth == 0
    assert answers(truth, [[2, 2, 2], [2, 2, -1]]).worth == 0
    assert answers([[2, 2]], [[2, 2]]).worth == 0, "nothing is there to be found"


def test_the_constant_answer_is_the_best_single_tag() -> None:
    made = answers([[0, 2, 2, 2], [0, 2, 0, -1]], [[2] * 4] * 2)
    assert set(made.constant().said_NT.ravel().tolist()) == {0} and made.constant().worth == pytest.approx(6 / 10)
    spans = answers([[0, 1, 1, 2], [2, 2, 2, -1]], [[2] * 4] * 2)
    assert set(spans.constant().said_NT.ravel().tolist()) == {2} and spans.constant().worth == 0
    words = answers([[0, 2, 2, 2], [0, 2, 1, -1]], [[2] * 4] * 2, ("DET", "NOUN", "VERB"))
    assert words.constant().worth == pytest.approx(4 / 7)


def test_a_file_holds_what_was_written_and_folds_join_at_the_longest() -> None:
    made = random_answers()
    read = from_parquet(to_parquet(made))
    assert isinstance(read, TagAnswers) and read.goal is Goal.TAG and read.classes == TAGS
    np.testing.assert_array_equal(read.truth_NT, made.truth_NT)
    np.testing.assert_array_equal(read.said_NT, made.said_NT)
    other = answers([[0, 1, 1, 1, 1, 1, 1, 1, 1, 2]], [[0, 1]], first=900)
    both = join([made, other])
    assert both.truth_NT.shape == (61, 10) and (both.truth_NT[0, 8:] == -1).all()
    counts = [part.statistics()["entity_micro_recall"] for part in (made, both)]
    assert estimate(counts[0], 60) > estimate(counts[1], 61)


def test_all_figures_have_intervals_and_names() -> None:
    figures = measure_all(random_answers(), draws=100)
    assert {
        "entity_micro_f1",
        "strict_entity_micro_f1",
        "word_accuracy",
        "sentence_accuracy",
    } <= figures.measures.keys()
    assert list(figures.per_class) == ["PER", *TAGS]
    assert figures.per_class["PER"]["support"].estimate > 10
    low, high = figures.measures["entity_micro_f1"].low, figures.measures["entity_micro_f1"].high
    assert low < figures.measures["entity_micro_f1"].estimate < high


def test_other_truths_beside_the_same_tags() -> None:
    made = answers([[0, 2]], [[0, 2]])
    assert made.with_truth_of(answers([[2, 0, 2]], [[2, 2, 2]])).worth == 0


@pytest.mark.parametrize(
    ("truth", "said", "word"),
    [([[0, 3]], [[0, 0]], "-1..2"), ([[-1]], [[0]], "no|none"), ([0, 1], [[0], [1]], r"\(clips, words\)")],
)
def test_what_cannot_be_measured_is_refused(truth, said, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        answers(truth, said)
