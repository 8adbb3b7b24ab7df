"""From a labels column to tags of words: schemes, what is left out and counted, and what a network is built with."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from mmpipe.config import Goal, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.tags import TagAnswers
from mmpipe.steps.goals.base import FindsOptions, MatchesRows, Said, Targets
from mmpipe.steps.goals.registry import steps_of
from mmpipe.steps.goals.tag import TagSteps, words_feature
from mmpipe.types import FeatureKind, FeatureSchema, Modality

STEPS = TagSteps()


def schema(name: str, modality: Modality = Modality.TEXT, kind: FeatureKind = FeatureKind.SEQUENCE) -> FeatureSchema:
    return FeatureSchema(feature=f"{name}@1", modality=modality, kind=kind, dim=4)


WORDS, PICTURE = schema("text-words"), schema("image-hogdct", Modality.IMAGE, FeatureKind.VECTOR)


def model_of(inputs: tuple[str, ...] = ("text-words",), **options) -> ModelConfig:
    return ModelConfig(corpus="c", target="tags", goal=Goal.TAG, inputs=inputs, goal_options=options)


def spine_of(*tags: str) -> pl.DataFrame:
    labels = [json.dumps({"tags": one} if one else {}) for one in tags]
    return pl.DataFrame({"key": [f"k{n}" for n in range(len(tags))], "labels": labels, "text": ["x"] * len(tags)})


def read(*tags: str, **options) -> Targets:
    return STEPS.read(model_of(**options), spine_of(*tags))


def test_the_goal_is_known_and_has_both_hooks() -> None:
    steps = steps_of(Goal.TAG)
    assert isinstance(steps, TagSteps) and isinstance(steps, MatchesRows) and isinstance(steps, FindsOptions)
    assert not isinstance(steps_of(Goal.CLASSIFY), MatchesRows | FindsOptions)


@pytest.mark.parametrize("tags", ["I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC", "B-PER E-PER O S-LOC"])
def test_entities_of_any_scheme_are_learnt_in_bio(tags: str) -> None:
    found = read(tags, "", "O O")
    assert found.names == ("B-LOC", "B-PER", "I-PER", "O") and found.rows_N.tolist() == [0, 2]
    assert found.values_N.tolist() == [[1, 2, 3, 0], [3, 3, -1, -1]] and found.told == ("", "")


def test_plain_tags_stay_as_they_are() -> None:
    found = read("NOUN VERB", "DET NOUN VERB")
    assert found.names == ("DET", "NOUN", "VERB") and found.values_N.tolist() == [[1, 2, -1], [0, 1, 2]]


def test_sentences_that_cannot_be_used_are_counted_by_reason() -> None:
    tags = ["B-PER O"] * 12 + ["B-PER x", "O O O O"]
    found = read(*tags, max_words=3)
    assert len(found.rows_N) == 12 and found.left_out == {"strange_tag": 1, "too_many_words": 1}
    with pytest.raises(ConfigError, match=r"has the tags \['O'\] in 2 of 2 clips"):
        read("O O", "O")
    with pytest.raises(ConfigError, match="none of 1 clips has a value"):
        read("")


def test_a_clip_whose_words_and_tags_differ_is_left_out_and_counted() -> None:
    targets = read("B-PER O O", "B-PER O", "O O", "O")
    lengths = {"text-words@1": np.array([3, 3, 2, 0])}
    found = STEPS.match_rows(targets, model_of(), (PICTURE, WORDS), lengths.__getitem__)
    assert found.rows_N.tolist() == [0, 2] and found.values_N.tolist() == [[0, 1, 1], [1, 1, -1]]
    assert found.left_out == {"no_words": 1, "words_and_tags_differ": 1} and found.told == ("", "")
    with pytest.raises(
        ConfigError, match=r"no clip has as many rows of text-words@1 as tags of 'tags': the first has 9"
    ):
        STEPS.match_rows(targets, model_of(), (WORDS,), lambda _: np.full(4, 9))


def test_the_words_are_found_among_the_inputs() -> None:
    tokens, bag = schema("text-tokens"), schema("text-ngrams", kind=FeatureKind.VECTOR)
    assert words_feature(model_of(), (PICTURE, WORDS, bag)) == "text-words@1"
    assert words_feature(model_of(words="text-tokens"), (tokens, WORDS)) == "text-tokens@1"
    with pytest.raises(ConfigError, match=r"which of \['text-tokens@1', 'text-words@1'\] has a row per word"):
        words_feature(model_of(), (tokens, WORDS))
    with pytest.raises(
        ConfigError, match=r"needs an input with a row per word; the inputs are .*'text-words' to `inputs`"
    ):
        words_feature(model_of(), (PICTURE, bag))
    with pytest.raises(ConfigError, match="called 'mine'"):
        words_feature(model_of(words="mine"), (WORDS,))


def test_a_network_is_built_with_the_longest_sentence() -> None:
    made = STEPS.options(model_of(crf=True), (WORDS,), np.zeros((3, 7), np.int64))
    assert made == {"crf": True, "words": "text-words@1", "max_words": 7}


def test_answers_the_blind_one_and_words_for_a_person() -> None:
    targets_NT, names = np.array([[0, 1, -1], [1, 1, 1]]), ("B-PER", "O")
    blind = STEPS.constant(targets_NT, names)
    assert blind.tolist() == [1, 1, 1]
    made = STEPS.answers(
        Said(
            keys=("a", "b"),
            groups=("a", "b"),
            targets_N=targets_NT,
            answers_N=np.tile(blind, (2, 1)),
            names=names,
        )
    )
    assert isinstance(made, TagAnswers) and made.worth == 0
    assert STEPS.answer(np.array([0, 1, -1]), names) == {"tags": "B-PER O"}
    assert "one of 2 tags" in STEPS.words("tags", names).says


@pytest.mark.parametrize("options", [{"crv": True}, {"max_words": -1}])
def test_options_that_it_does_not_take_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="goal_options of the goal 'tag'"):
        model_of(**options)
