"""Texts as answers: their worth, the best constant answer, and the file they are kept in."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.evaluate.answers.base import join
from mmpipe.evaluate.answers.files import from_parquet, to_parquet
from mmpipe.evaluate.answers.texts import TextAnswers
from mmpipe.evaluate.measures.statistic import estimates


def answers_of(texts: list[str], written: list[str], first: int = 0) -> TextAnswers:
    return TextAnswers(
        keys=tuple(f"k{first + number}" for number in range(len(texts))),
        groups=tuple(f"g{number % 2}" for number in range(len(texts))),
        texts_N=np.array(texts, dtype=object),
        written_N=np.array(written, dtype=object),
    )


def test_the_mean_worth_is_word_accuracy_over_all_words() -> None:
    answers = answers_of(["a", "a b c d e"], ["b", "a b c d e f"])
    assert answers.worth == pytest.approx(4 / 6)
    assert answers.worth == pytest.approx(estimates(answers.statistics(), 2)["word_accuracy"])


def test_the_worth_of_a_clip_is_its_influence_on_the_ratio() -> None:
    texts, written = ["a b", "c d e", "f", "a"], ["a b", "c x e", "f g", "b"]
    answers = answers_of(texts, written)
    step = 1e-6
    for clip in range(4):
        weights_DN = np.ones((1, 4))
        weights_DN[0, clip] += step
        slope = (answers.statistics()["word_accuracy"](weights_DN)[0] - answers.worth) / step
        assert answers.worth_N[clip] - answers.worth == pytest.approx(4 * slope, abs=1e-4)


def test_the_constant_answer_is_the_text_that_does_best() -> None:
    answers = answers_of(["a b c", "a b c", "x y z", "a b z"], ["", "", "", ""])
    assert set(answers.constant().written_N) == {"a b c"}
    assert set(answers_of(["a b c d e f", "x y", "x z"], [""] * 3).constant().written_N) == {"x y"}


def test_answers_come_back_from_their_file() -> None:
    answers = answers_of(["bin blue", "später", "lay"], ["bin", "", "lay white"])
    back = from_parquet(to_parquet(answers))
    assert isinstance(back, TextAnswers)
    assert back.texts_N.tolist() == answers.texts_N.tolist()
    assert back.written_N.tolist() == answers.written_N.tolist()
    assert back.keys == answers.keys


def test_of_texts_that_are_all_long_and_different_none_may_be_worth_more_than_nothing() -> None:
    texts = [f"{'a ' * 9}{number}{number}" for number in range(70)] + [f"b{number}" for number in range(2000)]
    constant = answers_of(texts, texts).constant()  # the 31 that are tried are all of the long kind
    assert set(constant.written_N) == {""}
    assert constant.worth == 0


def test_folds_are_joined_by_key() -> None:
    whole = join([answers_of(["b"], ["b"], first=1), answers_of(["a"], ["x"], first=0)])
    assert isinstance(whole, TextAnswers)
    assert whole.texts_N.tolist() == ["a", "b"]


def test_truth_without_a_word_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="none of 2 true texts has a word"):
        answers_of(["", " "], ["a", ""])
