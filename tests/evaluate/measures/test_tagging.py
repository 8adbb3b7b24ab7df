"""Tags and the entities that they spell, against a plain reading of the rules of conlleval and against worked cases."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpipe.evaluate.measures.statistic import estimate, estimates, intervals
from mmpipe.evaluate.measures.tagging import entity_tally, entity_types, has_entities, per_tag, tagging, word_tally

TAGS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
POS = ("DET", "NOUN", "VERB")


def rows(sentences: list[list[str]], tags: tuple[str, ...] = TAGS) -> np.ndarray:
    width = max(len(sentence) for sentence in sentences)
    return np.array([[tags.index(tag) for tag in one] + [-1] * (width - len(one)) for one in sentences])


def measured(truth: list[list[str]], said: list[list[str]], tags: tuple[str, ...] = TAGS) -> dict[str, float]:
    return estimates(tagging(rows(truth, tags), rows(said, tags), tags), len(truth))


def chunks(tags: list[str]) -> set[tuple[str, int, int]]:
    """Entities word by word, as the perl script conlleval goes: start_of_chunk and end_of_chunk for B, I and O."""
    found, start = set(), None
    for place, (before, tag) in enumerate(pairwise(["O", *tags, "O"])):
        ends = before != "O" and (tag == "O" or tag[0] == "B" or before[2:] != tag[2:])
        begins = tag != "O" and (before == "O" or tag[0] == "B" or before[2:] != tag[2:])
        if ends:
            found.add((before[2:], start, place - 1))
        if begins:
            start = place
    return found


def strict_chunks(tags: list[str]) -> set[tuple[str, int, int]]:
    """Entities that begin with B and go on with I of their type, as seqeval reads IOB2 strictly."""
    found, place = set(), 0
    while place < len(tags):
        end = place + 1
        if tags[place][0] == "B":
            while end < len(tags) and tags[end] == f"I-{tags[place][2:]}":
                end += 1
            found.add((tags[place][2:], place, end - 1))
        place = end
    return found


def counted(reading, truth: list[list[str]], said: list[list[str]]) -> dict[str, list[int]]:
    counts = {kind: [0, 0, 0] for kind in ("LOC", "PER")}
    for one, other in zip(truth, said, strict=True):
        true, told = reading(one), reading(other)
        for number, chosen in enumerate((true, told, true & told)):
            for kind, _, _ in chosen:
                counts[kind][number] += 1
    return counts


sentences = st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=9), min_size=1, max_size=6)


@pytest.mark.parametrize(("strict", "reading"), [(False, chunks), (True, strict_chunks)])
@given(truth=sentences, data=st.data())
@settings(max_examples=150, deadline=None)
def test_entities_are_those_of_a_plain_reading(strict: bool, reading, truth: list[list[str]], data) -> None:
    said = [data.draw(st.lists(st.sampled_from(TAGS), min_size=len(one), max_size=len(one))) for one in truth]
    tally = entity_tally(rows(truth), rows(said), TAGS, strict=strict)
    found = np.stack([tally.true_NC, tally.said_NC, tally.right_NC]).sum(axis=1)
    wanted = counted(reading, truth, said)
    assert dict(zip(tally.names, found.T.astype(int).tolist(), strict=True)) == wanted


def test_the_example_of_seqeval_gives_its_figures() -> None:
    # Its README: y_true and y_pred of two sentences; micro F1 0.50, MISC 0, PER 1.
    tags = ("B-MISC", "B-PER", "I-MISC", "I-PER", "O")
    truth = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    said = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    found = measured(truth, said, tags)
    assert found["entity_micro_f1"] == found["entity_micro_precision"] == found["entity_macro_f1"] == 0.5
    assert found["word_accuracy"] == pytest.approx(8 / 10)
    named = {name: estimates(kinds, 2) for name, kinds in per_tag(rows(truth, tags), rows(said, tags), tags).items()}
    assert named["MISC"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert named["PER"] == {"precision": 1, "recall": 1, "f1": 1, "support": 1}
    assert named["I-MISC"] == pytest.approx({"precision": 2 / 3, "recall": 1, "f1": 0.8, "support": 2})


def test_an_i_without_its_b_is_an_entity_by_default_and_none_strictly() -> None:
    truth, said = [["B-PER", "I-PER", "O", "B-LOC"]], [["I-PER", "I-PER", "O", "I-LOC"]]
    found = measured(truth, said)
    assert found["entity_micro_f1"] == 1 and found["strict_entity_micro_f1"] == 0
    assert found["word_accuracy"] == 0.5 and found["inside_micro_f1"] == pytest.approx(1 / 3)


def test_what_lies_behind_the_end_of_a_sentence_does_not_count() -> None:
    truth, said = rows([["B-PER", "O"], ["O", "O", "O", "B-LOC"]]), rows([["B-PER"] * 4, ["O", "O", "O", "B-LOC"]])
    found = estimates(tagging(truth, said, TAGS), 2)
    assert found["entity_micro_precision"] == pytest.approx(2 / 3) and found["word_accuracy"] == pytest.approx(5 / 6)
    assert found["sentence_accuracy"] == 0.5
    said[0] = -1
    assert estimates(tagging(truth, said, TAGS), 2)["entity_micro_recall"] == 0.5


def test_parts_of_speech_have_no_entities_and_their_averages_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 3, (20, 7)), rng.integers(0, 3, (20, 7))
    found = estimates(tagging(truth, said, POS), 20)
    assert not any("entity" in name for name in found)
    for average in ("macro", "weighted"):
        wanted = precision_recall_fscore_support(truth.ravel(), said.ravel(), average=average)[:3]
        assert [found[f"word_{average}_{kind}"] for kind in ("precision", "recall", "f1")] == pytest.approx(wanted)
    assert found["word_accuracy"] == pytest.approx((truth == said).mean())
    precision, recall, f1, support = precision_recall_fscore_support(truth.ravel(), said.ravel(), labels=range(3))
    named = {name: estimates(kinds, 20) for name, kinds in word_tally(truth, said, POS).per_name().items()}
    for number, name in enumerate(POS):
        wanted = [precision[number], recall[number], f1[number], support[number]]
        assert list(named[name].values()) == pytest.approx(wanted)


def test_an_average_over_types_is_over_those_that_are_true_and_one_never_seen_is_not_told() -> None:
    tally = entity_tally(rows([["B-PER", "O"]]), rows([["B-PER", "B-LOC"]]), TAGS)
    assert estimate(tally.averages()["macro_f1"], 1) == 1 and estimate(tally.averages()["micro_f1"], 1) == 2 / 3
    assert tally.per_name().keys() == {"LOC", "PER"}
    assert entity_tally(rows([["B-PER", "O"]]), rows([["O", "O"]]), TAGS).per_name().keys() == {"PER"}
    nothing = entity_tally(rows([["O", "O"]]), rows([["O", "O"]]), TAGS).averages()["micro_f1"]
    assert np.isnan(estimate(nothing, 1))


def test_a_group_is_resampled_as_one() -> None:
    truth = rows([["B-PER", "O"]] * 40)
    said = rows([["B-PER", "O"]] * 20 + [["O", "O"]] * 20)
    found = tagging(truth, said, TAGS)
    each = intervals({"f1": found["entity_micro_f1"]}, [str(n) for n in range(40)])["f1"]
    halves = intervals({"f1": found["entity_micro_f1"]}, ["a"] * 20 + ["b"] * 20)["f1"]
    assert each.estimate == halves.estimate == pytest.approx(2 / 3)
    assert (halves.low, halves.high) == (0, 1) and each.high - each.low < 0.4


@pytest.mark.parametrize(
    ("tags", "types"), [(TAGS, ("LOC", "PER")), (("B", "I", "O"), ("entity",)), (POS, ()), (("O",), ())]
)
def test_tags_spell_entities_where_all_but_o_begin_with_b_or_i(tags: tuple[str, ...], types: tuple[str, ...]) -> None:
    assert has_entities(tags) is bool(types)
    assert (entity_types(tags) if types else ()) == types
