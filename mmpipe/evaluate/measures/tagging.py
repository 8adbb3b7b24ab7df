"""Tags of words, and the entities that they spell: precision, recall and F1, of each tag and type and on average.

An entity counts as found where its first word, its last word and its type are all right (Tjong Kim Sang and De Meulder
2003). Tags are O, B-TYPE and I-TYPE; an I that does not go on with the word before it begins an entity, as conlleval
reads it, and strictly read none. Axes: N clips, T words, C tags or types, D draws.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mmpipe.evaluate.measures.statistic import Statistic, divided, ratio_of

KINDS = ("precision", "recall", "f1")
OUTSIDE = "O"
_ENTITY = re.compile(r"([BI])(?:-(.+))?")
_NO_TYPE = "entity"  # what the tags B and I without a type speak of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """What of every name each clip has: how often it is true, how often it was said, and how often both."""

    names: tuple[str, ...]  # of tags, or of types
    true_NC: np.ndarray
    said_NC: np.ndarray
    right_NC: np.ndarray

    def averages(self) -> dict[str, Statistic]:
        """Return micro (all counts pooled), macro and weighted averages; macro is over the names that are true of
        some drawn clip, weighted weighs them by how often they are."""
        return {
            **{f"micro_{kind}": self._pooled(kind) for kind in KINDS},
            **{f"macro_{kind}": self._averaged(kind, np.minimum) for kind in KINDS},
            **{f"weighted_{kind}": self._averaged(kind, np.maximum) for kind in KINDS},
        }

    def per_name(self) -> dict[str, dict[str, Statistic]]:
        """Return precision, recall, F1 and how often it is true, of each name that is true or said somewhere."""
        counts_C = (self.true_NC + self.said_NC).sum(axis=0)
        return {name: self._of(number) for number, name in enumerate(self.names) if counts_C[number]}

    def without(self, name: str) -> Tally:
        """Return the counts but for those of one name."""
        kept = [number for number, known in enumerate(self.names) if known != name]
        return Tally(
            names=tuple(self.names[number] for number in kept),
            true_NC=self.true_NC[:, kept],
            said_NC=self.said_NC[:, kept],
            right_NC=self.right_NC[:, kept],
        )

    def _of(self, number: int) -> dict[str, Statistic]:
        true_N, said_N, right_N = (a[:, number] for a in (self.true_NC, self.said_NC, self.right_NC))
        both_N = true_N + said_N

        def where_seen(statistic: Statistic) -> Statistic:
            return lambda weights_DN: np.where(weights_DN @ both_N > 0, np.nan_to_num(statistic(weights_DN)), np.nan)

        return {
            "precision": where_seen(ratio_of(right_N, said_N)),
            "recall": where_seen(ratio_of(right_N, true_N)),
            "f1": where_seen(ratio_of(2 * right_N, both_N)),
            "support": lambda weights_DN: weights_DN @ true_N,
        }

    def _pooled(self, kind: str) -> Statistic:
        """Return the quotient of sums over all names; 0 where nothing is said, or true, not defined without either."""
        true_N, said_N, right_N = (a.sum(axis=1) for a in (self.true_NC, self.said_NC, self.right_NC))

        def measure(weights_DN: np.ndarray) -> np.ndarray:
            true_D, said_D, right_D = (weights_DN @ counts_N for counts_N in (true_N, said_N, right_N))
            score_D = np.nan_to_num(_scores(true_D, said_D, right_D, kind))
            return np.where(true_D + said_D > 0, score_D, np.nan)

        return measure

    def _averaged(self, kind: str, weigh: Callable[[np.ndarray, float], np.ndarray]) -> Statistic:
        """Return the mean over names; one that is true of a clip weighs 1 (minimum), or its support (maximum)."""

        def measure(weights_DN: np.ndarray) -> np.ndarray:
            true_DC, said_DC, right_DC = (weights_DN @ a for a in (self.true_NC, self.said_NC, self.right_NC))
            score_DC = np.nan_to_num(_scores(true_DC, said_DC, right_DC, kind))
            weight_DC = np.where(true_DC > 0, weigh(true_DC, 1.0), 0.0)
            return divided((weight_DC * score_DC).sum(axis=1), weight_DC.sum(axis=1))

        return measure


def has_entities(tags: tuple[str, ...]) -> bool:
    """Say whether tags spell entities; else every word has one of its own, as a part of speech."""
    marked = [tag for tag in tags if tag != OUTSIDE]
    return bool(marked) and all(_ENTITY.fullmatch(tag) for tag in marked)


def word_tally(truth_NT: np.ndarray, said_NT: np.ndarray, tags: tuple[str, ...]) -> Tally:
    """Count the tags of words; -1 in the truth is no word, -1 in the answer no tag."""
    is_word_NT = truth_NT >= 0
    return Tally(
        names=tags,
        true_NC=_per_clip(truth_NT, is_word_NT, len(tags)),
        said_NC=_per_clip(said_NT, is_word_NT & (said_NT >= 0), len(tags)),
        right_NC=_per_clip(truth_NT, is_word_NT & (truth_NT == said_NT), len(tags)),
    )


def entity_tally(truth_NT: np.ndarray, said_NT: np.ndarray, tags: tuple[str, ...], *, strict: bool = False) -> Tally:
    """Count the entities of each type, and those that are found."""
    types = entity_types(tags)
    true = _Entities.of(truth_NT, tags, types, strict=strict)
    said = _Entities.of(np.where(truth_NT >= 0, said_NT, -1), tags, types, strict=strict)
    found_NT = true.first_NT & said.first_NT & (true.type_NT == said.type_NT) & (true.last_NT == said.last_NT)
    return Tally(
        names=types,
        true_NC=_per_clip(true.type_NT, true.first_NT, len(types)),
        said_NC=_per_clip(said.type_NT, said.first_NT, len(types)),
        right_NC=_per_clip(true.type_NT, found_NT, len(types)),
    )


def entity_types(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the types that tags speak of, sorted."""
    found = [_ENTITY.fullmatch(tag) for tag in tags]
    return tuple(sorted({match[2] or _NO_TYPE for match in found if match}))


def tagging(truth_NT: np.ndarray, said_NT: np.ndarray, tags: tuple[str, ...]) -> dict[str, Statistic]:
    """Return the measures of all words together, and where tags spell entities those of all entities first."""
    words = word_tally(truth_NT, said_NT, tags)
    every_NT, right_NT = truth_NT >= 0, (truth_NT == said_NT) & (truth_NT >= 0)
    found: dict[str, Statistic] = {}
    if has_entities(tags):
        entities = entity_tally(truth_NT, said_NT, tags)
        strict = entity_tally(truth_NT, said_NT, tags, strict=True)
        found = {f"entity_{name}": measure for name, measure in entities.averages().items()}
        found["strict_entity_micro_f1"] = strict.averages()["micro_f1"]
        found["inside_micro_f1"] = words.without(OUTSIDE).averages()["micro_f1"]
    averages = {name: measure for name, measure in words.averages().items() if not name.startswith("micro")}
    return found | {
        "word_accuracy": ratio_of(right_NT.sum(axis=1), every_NT.sum(axis=1)),
        **{f"word_{name}": measure for name, measure in averages.items()},
        "sentence_accuracy": ratio_of((right_NT.sum(axis=1) == every_NT.sum(axis=1)) & every_NT[:, 0], every_NT[:, 0]),
    }


def per_tag(truth_NT: np.ndarray, said_NT: np.ndarray, tags: tuple[str, ...]) -> Mapping[str, Mapping[str, Statistic]]:
    """Return precision, recall, F1 and support of each type of entity (PER), then of each tag of words (B-PER)."""
    entities = entity_tally(truth_NT, said_NT, tags).per_name() if has_entities(tags) else {}
    return entities | word_tally(truth_NT, said_NT, tags).per_name()


def _per_clip(names_NT: np.ndarray, which_NT: np.ndarray, size: int) -> np.ndarray:
    """Return how often each name is among the chosen words of each clip, [N, C]."""
    clips, _ = np.nonzero(which_NT)
    counts = np.bincount(clips * size + names_NT[which_NT], minlength=len(names_NT) * size)
    return counts.reshape(len(names_NT), size).astype(float)


def _scores(true: np.ndarray, said: np.ndarray, right: np.ndarray, kind: str) -> np.ndarray:
    return divided(right, {"precision": said, "recall": true, "f1": (true + said) / 2}[kind])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Entities:
    """Where entities begin, of which type, and where the entity that a word begins ends."""

    first_NT: np.ndarray  # bool
    last_NT: np.ndarray  # place of the last word; counts only where one begins
    type_NT: np.ndarray  # -1 outside

    @classmethod
    def of(cls, tags_NT: np.ndarray, tags: tuple[str, ...], types: tuple[str, ...], *, strict: bool) -> _Entities:
        """Find the entities of many sentences at once."""
        found = [_ENTITY.fullmatch(tag) for tag in tags]
        type_K = np.array([types.index(match[2] or _NO_TYPE) if match else -1 for match in found] + [-1])
        begins_K = np.array([match is not None and match[1] == "B" for match in found] + [False])
        type_NT, begins_NT = type_K[tags_NT], begins_K[tags_NT]  # -1, no word, is the last: outside
        before_NT = np.pad(type_NT, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
        first_NT = (type_NT >= 0) & (begins_NT | (before_NT != type_NT))
        goes_on_NT = np.pad((type_NT >= 0) & ~first_NT, ((0, 0), (0, 1)))[:, 1:]
        ends_NT = np.where((type_NT >= 0) & ~goes_on_NT, np.arange(tags_NT.shape[1]), tags_NT.shape[1])
        last_NT = np.minimum.accumulate(ends_NT[:, ::-1], axis=1)[:, ::-1]
        return cls(first_NT=first_NT & begins_NT if strict else first_NT, last_NT=last_NT, type_NT=type_NT)

    def count(self, which_NT: np.ndarray, num_types: int) -> np.ndarray:
        """Return how many of the chosen words are of each type, [N, C]."""
        return ((self.type_NT[:, :, None] == np.arange(num_types)) & which_NT[:, :, None]).sum(axis=1, dtype=float)
