"""Word and character error rates: against a plain dynamic programme, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.evaluate.measures.statistic import estimates, intervals
from mmpipe.evaluate.measures.transcription import Edits, transcription


def plain_distance(truth: list[str], answer: list[str]) -> int:
    """Return the Levenshtein distance as the textbook has it."""
    row = list(range(len(answer) + 1))
    for i, wanted in enumerate(truth, 1):
        before, row = row, [i]
        for j, given in enumerate(answer, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (wanted != given)))
    return row[-1]


def random_texts(count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(["a", "bb", "c", "dd"], generator.integers(0, 9))) for _ in range(count)]


def test_edits_are_those_of_a_plain_dynamic_programme() -> None:
    truth, answers = random_texts(300, 0), random_texts(300, 1)
    words, characters = Edits.of_words(truth, answers), Edits.of_characters(truth, answers)
    assert words.errors_N.tolist() == [
        plain_distance(t.split(), a.split()) for t, a in zip(truth, answers, strict=True)
    ]
    assert characters.errors_N.tolist() == [
        plain_distance(list(t), list(a)) for t, a in zip(truth, answers, strict=True)
    ]
    # What is put in less what is left out is what the answer is longer.
    longer = [len(a.split()) - len(t.split()) for t, a in zip(truth, answers, strict=True)]
    assert (words.insertions_N - words.deletions_N).tolist() == longer


@pytest.mark.parametrize(
    ("truth", "answer", "edits"),
    [
        ("bin blue at f two now", "bin blue at f two now", (0, 0, 0)),
        ("bin blue at f two now", "bin red at two now soon", (1, 1, 1)),
        ("a b", "", (0, 2, 0)),
        ("", "a b", (0, 0, 2)),
        ("a  b ", " a b", (0, 0, 0)),  # white space does not count
        ("a", "A", (1, 0, 0)),  # case does
        ("a b", "b a", (2, 0, 0)),  # as short as one left out and one put in: exchanged tokens come first
    ],
)
def test_edits_by_hand(truth: str, answer: str, edits: tuple[int, int, int]) -> None:
    found = Edits.of_words([truth], [answer])
    assert (found.substitutions_N[0], found.deletions_N[0], found.insertions_N[0]) == edits


def test_rates_are_sums_over_clips_not_means_of_rates() -> None:
    measured = estimates(transcription(["a", "a b c d e"], ["b", "a b c d e f"]), 2)
    assert measured["word_error_rate"] == pytest.approx(2 / 6)
    assert measured["word_accuracy"] == pytest.approx(4 / 6)
    assert measured["substitutions"] == pytest.approx(1 / 6)
    assert measured["insertions"] == pytest.approx(1 / 6)
    assert measured["deletions"] == 0
    assert measured["exact"] == 0
    assert measured["character_error_rate"] == pytest.approx(3 / 10)


def test_more_errors_than_words_give_a_rate_above_one() -> None:
    assert estimates(transcription(["a"], ["b c d"]), 1)["word_accuracy"] == -2


def test_intervals_draw_whole_groups() -> None:
    truth, answers = random_texts(60, 2), random_texts(60, 3)
    groups = [f"speaker{number // 20}" for number in range(60)]
    found = intervals(transcription(truth, answers), groups, draws=200)["word_error_rate"]
    assert found.num_groups == 3
    assert found.low <= found.estimate <= found.high
    alike = intervals(transcription(["a b"] * 60, ["a c"] * 60), groups, draws=200)["word_error_rate"]
    assert (alike.low, alike.high) == (0.5, 0.5)
