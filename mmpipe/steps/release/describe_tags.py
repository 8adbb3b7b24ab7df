"""Say how a model treats each tag and each type of entity, for the page of a night and the card of a version."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.tags import TagAnswers
from mmpipe.evaluate.figures import Figures
from mmpipe.evaluate.measures.statistic import Statistic, estimates
from mmpipe.evaluate.measures.tagging import entity_tally, entity_types, has_entities, word_tally
from mmpipe.registry.card import CardMetric
from mmpipe.report.values import ClassResults, ClassScore


def tag_results(answers: TagAnswers) -> ClassResults:
    """Return the report of words with the confusions of their tags, and that of entities where tags spell any."""
    truth_NT, said_NT, tags = answers.truth_NT, answers.said_NT, answers.classes
    words = word_tally(truth_NT, said_NT, tags)
    entities = entity_tally(truth_NT, said_NT, tags) if has_entities(tags) else None
    named = words.per_name()
    return ClassResults(
        scores=tuple(_score(tag, named.get(tag, {}), len(answers.keys)) for tag in tags),
        confusion=_confusion(truth_NT, said_NT, len(tags)),
        counted="words",
        wholes=tuple(_score(*one, len(answers.keys)) for one in entities.per_name().items()) if entities else (),
    )


def _score(name: str, measures: Mapping[str, Statistic], num_clips: int) -> ClassScore:
    """Return the scores of a tag or type; zeros where it neither occurs nor is said."""
    found = estimates(measures, num_clips) or dict.fromkeys(("precision", "recall", "f1", "support"), 0.0)
    return ClassScore(
        label=name,
        precision=found["precision"],
        recall=found["recall"],
        f1=found["f1"],
        support=round(found["support"]),
    )


def _confusion(truth_NT: np.ndarray, said_NT: np.ndarray, size: int) -> tuple[tuple[int, ...], ...]:
    """Return how many words of a tag (row) were given which (column); a word without an answer is in none."""
    both_NT = (truth_NT >= 0) & (said_NT >= 0)
    flat = np.bincount(truth_NT[both_NT] * size + said_NT[both_NT], minlength=size * size)
    return tuple(tuple(row) for row in flat.reshape(size, size).tolist())


def type_metrics(answers: Answers, figures: Figures) -> tuple[CardMetric, ...]:
    """Return the F1 of each type of entity, for a card; nothing of answers that are no such tags."""
    if not isinstance(answers, TagAnswers) or not has_entities(answers.classes):
        return ()
    found = {name: figures.per_class.get(name, {}) for name in entity_types(answers.classes)}
    return tuple(
        CardMetric(
            name=f"entity_f1_{name}",
            label=f"F1 of {name}, {kinds['support'].estimate:.0f} entities",
            value=kinds["f1"].estimate,
            low=kinds["f1"].low,
            high=kinds["f1"].high,
        )
        for name, kinds in found.items()
        if kinds
    )
