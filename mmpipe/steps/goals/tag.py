"""A tag for every word: a labels column that has as many tags, with blanks between, as the clip's text has words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from mmpipe.config import Goal, GoalOptions, ModelConfig
from mmpipe.config.tagging import TagOptions
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.tags import TagAnswers
from mmpipe.external.published.tag_schemes import TagScheme, find_scheme, is_entity_tag, to_bio
from mmpipe.steps.goals.base import GoalWords, Said, Targets
from mmpipe.steps.goals.column import labelled_rows
from mmpipe.types import FeatureKind, FeatureSchema, Modality


class TagSteps:
    """Tags are what stands between blanks; those of entities, in whatever scheme, are brought to BIO."""

    goal = Goal.TAG
    can_be_shuffled = True

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return tag indices [N, T], -1 behind the end; clips whose tags cannot be used are left out."""
        rows_N, values = labelled_rows(model, spine)
        sentences = [value.split() for value in values]
        scheme = find_scheme(sentences)
        most = TagOptions(**model.goal_options).max_words or max(map(len, sentences))
        faults = [_fault(sentence, scheme, most) for sentence in sentences]
        kept = [number for number, fault in enumerate(faults) if not fault]
        tags = [sentences[n] if scheme is TagScheme.PLAIN else to_bio(sentences[n]) for n in kept]
        names = tuple(sorted({tag for sentence in tags for tag in sentence}))
        if len(names) < 2:
            raise ConfigError(
                f"the target {model.target!r} has the tags {list(names)} in {len(kept)} of {len(values)} clips: "
                "nothing to tell apart. Choose another `target`, a larger goal_options.max_words, or label more."
            )
        return Targets(
            rows_N=rows_N[kept],
            values_N=_indices(tags, names),
            names=names,
            told=("",) * len(kept),  # a text that holds the letter O gives nothing away by that
            left_out=Counter(fault for fault in faults if fault),
        )

    def match_rows(
        self,
        targets: Targets,
        model: ModelConfig,
        schemas: Sequence[FeatureSchema],
        lengths: Callable[[str], np.ndarray],
    ) -> Targets:
        """Return the targets of the clips whose words' feature has a row for every tag; ConfigError where none has."""
        feature = words_feature(model, schemas)
        rows_N = lengths(feature)[targets.rows_N]
        tags_N = (targets.values_N >= 0).sum(axis=1)
        fits_N = rows_N == tags_N
        if not fits_N.any():
            raise ConfigError(
                f"no clip has as many rows of {feature} as tags of {model.target!r}: the first has {rows_N[0]} rows "
                f"and {tags_N[0]} tags. `text-words` gives a row per word of a text with blanks between its words."
            )
        missing = int((rows_N == 0).sum())
        reasons = {"no_words": missing, "words_and_tags_differ": int((~fits_N).sum()) - missing}
        return replace(
            targets,
            rows_N=targets.rows_N[fits_N],
            values_N=targets.values_N[fits_N, : tags_N[fits_N].max()],
            told=("",) * int(fits_N.sum()),
            left_out={**targets.left_out, **{reason: count for reason, count in reasons.items() if count}},
        )

    def options(self, model: ModelConfig, schemas: Sequence[FeatureSchema], targets_N: np.ndarray) -> GoalOptions:
        """Return what the config says, with the words' feature and the longest sentence."""
        return {**model.goal_options, "words": words_feature(model, schemas), "max_words": targets_N.shape[1]}

    def answers(self, said: Said) -> TagAnswers:
        """Return the tags that were said beside the true ones."""
        return TagAnswers(
            keys=said.keys, groups=said.groups, truth_NT=said.targets_N, said_NT=said.answers_N, classes=said.names
        )  # fmt: skip

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return the most frequent tag for every word."""
        most_frequent = np.bincount(targets_N[targets_N >= 0], minlength=len(names)).argmax()
        return np.full(targets_N.shape[1], most_frequent, dtype=np.int64)

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say that it tags words."""
        return GoalWords(
            aim=f"tagging of words with {target}",
            says=f"Gives every word of a text one of {len(names)} tags of {target}",
            named="Tags",
            always="It tags every word, also in texts that are unlike all that it learnt from.",
        )

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return the tags of the words, with blanks between."""
        return {"tags": " ".join(names[tag] for tag in answer.tolist() if tag >= 0)}


def words_feature(model: ModelConfig, schemas: Sequence[FeatureSchema]) -> str:
    """Return the input that has a row per word; ConfigError where there is none, or more than one might."""
    asked = TagOptions(**model.goal_options).words
    texts = [s.feature for s in schemas if s.modality is Modality.TEXT and s.kind is FeatureKind.SEQUENCE]
    found = [name for name in texts if asked in ("", name, name.partition("@")[0])]
    if len(found) == 1:
        return found[0]
    if asked or not texts:
        raise ConfigError(
            f"goal = 'tag' needs an input with a row per word{f', called {asked!r}' if asked else ''}; the inputs are "
            f"{[schema.feature for schema in schemas]}, sequences of text are {texts}. Add 'text-words' to `inputs`."
        )
    raise ConfigError(f"which of {texts} has a row per word? Say goal_options.words = {texts[0].partition('@')[0]!r}")


def _fault(tags: Sequence[str], scheme: TagScheme, most: int) -> str:
    """Return why a sentence cannot be used, "" where it can."""
    if len(tags) > most:
        return "too_many_words"
    return "" if scheme is TagScheme.PLAIN or all(map(is_entity_tag, tags)) else "strange_tag"


def _indices(sentences: Sequence[Sequence[str]], names: tuple[str, ...]) -> np.ndarray:
    number = {name: place for place, name in enumerate(names)}
    tags_NT = np.full((len(sentences), max(map(len, sentences), default=0)), -1, dtype=np.int64)
    for row, sentence in enumerate(sentences):
        tags_NT[row, : len(sentence)] = [number[tag] for tag in sentence]
    return tags_NT
