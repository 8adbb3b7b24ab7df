"""The reports of words and of entities, with support: what the page shows, and what the card lists."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.evaluate.answers.tags import TagAnswers
from mmpipe.evaluate.figures import measure_all
from mmpipe.steps.release.describe_tags import tag_results, type_metrics

TAGS = ("B-LOC", "B-PER", "I-PER", "O")
TRUTH = np.array([[1, 2, 3, 0], [3, 3, 1, -1], [0, 3, -1, -1]])
SAID = np.array([[1, 2, 3, 3], [3, 0, 1, -1], [1, 3, 3, 3]])


def answers(tags: tuple[str, ...] = TAGS) -> TagAnswers:
    keys = ("a", "b", "c")
    return TagAnswers(keys=keys, groups=keys, truth_NT=TRUTH, said_NT=SAID, classes=tags)


def test_words_and_entities_have_reports_of_their_own() -> None:
    found = tag_results(answers())
    assert found.confusion == ((0, 1, 0, 1), (0, 2, 0, 0), (0, 0, 1, 0), (1, 0, 0, 3)) and found.counted == "words"
    assert [(score.label, score.support) for score in found.scores] == [
        ("B-LOC", 2),
        ("B-PER", 2),
        ("I-PER", 1),
        ("O", 4),
    ]
    place, person = found.wholes
    assert (place.label, place.support, place.f1) == ("LOC", 2, 0)
    assert (person.label, person.support, person.precision, person.recall) == ("PER", 2, pytest.approx(2 / 3), 1)


def test_plain_tags_have_no_entities_and_a_tag_that_is_nowhere_has_zeros() -> None:
    found = tag_results(answers(("DET", "NOUN", "VERB", "X", "Y")))
    assert found.wholes == () and (found.scores[4].label, found.scores[4].f1, found.scores[4].support) == ("Y", 0, 0)
    assert len(found.confusion) == 5


def test_the_card_lists_types_with_intervals() -> None:
    place, person = type_metrics(answers(), measure_all(answers(), draws=100))
    assert (place.name, place.label, place.value) == ("entity_f1_LOC", "F1 of LOC, 2 entities", 0)
    assert person.value == pytest.approx(0.8) and person.low < 0.8 < person.high
    plain = answers(("DET", "NOUN", "VERB", "X"))
    assert type_metrics(plain, measure_all(plain, draws=100)) == ()
