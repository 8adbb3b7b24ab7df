"""A text: a column of the labels table, or the clip's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from mmpipe.config import Goal, GoalOptions, ModelConfig
from mmpipe.config.generating import GenerateOptions, Unit
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.texts import TextAnswers
from mmpipe.fusion.decoding.tokenizer import OF_A_MODEL, ModelTokens
from mmpipe.fusion.decoding.vocabulary import Vocabulary
from mmpipe.steps.goals.base import GoalWords, Said, Targets
from mmpipe.steps.goals.column import column_values, require_values
from mmpipe.types import FeatureSchema

TEXT_TARGET = "text"


class GenerateSteps:
    """Numbers of tokens; what they are numbers of is in the names: a vocabulary, or which model's tokenizer.

    The target is a column of the labels table, `cue` (the text of the cue), or `text`: where the table has no such
    column, the clip's own text, a transcript. The vocabulary is of all labelled clips: a word that no training clip
    has can be asked for, and is never written.
    """

    goal = Goal.GENERATE
    can_be_shuffled = True

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return the numbers of the texts [N, T], -1 behind the end."""
        values = column_values(spine, model.target)
        if model.target == TEXT_TARGET and not any(values):
            values = [text.strip() for text in spine["text"]]
        rows_N = np.array([row for row, value in enumerate(values) if value], dtype=np.int64)
        require_values(model, spine, model.target, len(rows_N))
        texts = [" ".join(values[row].split()) for row in rows_N]
        if len(set(texts)) < 2:
            raise ConfigError(
                f"the target {model.target!r} is {texts[0]!r} for all {len(texts)} clips: nothing to learn. Choose "
                "another `target`, or label more."
            )
        options = GenerateOptions(**dict(model.goal_options))
        tokens = ModelTokens.of(options) if options.model else Vocabulary.of(texts, options.unit)
        names = tokens.names if isinstance(tokens, ModelTokens) else tokens.tokens
        ids_NT = tokens.encode(texts)
        _require_written(texts, tokens.decode(ids_NT), model)
        return Targets(rows_N=rows_N, values_N=ids_NT, names=names, told=tuple(texts))

    def options(self, model: ModelConfig, schemas: Sequence[FeatureSchema], targets_N: np.ndarray) -> GoalOptions:
        """Return what the config says, with the length of the longest text where it says none."""
        return {**model.goal_options, "max_tokens": model.goal_options.get("max_tokens") or targets_N.shape[1]}

    def answers(self, said: Said) -> TextAnswers:
        """Return what was written beside what is true, both as texts."""
        tokens = _tokens_of(said.names)
        return TextAnswers(
            keys=said.keys,
            groups=said.groups,
            classes=said.names,
            texts_N=np.array(tokens.decode(said.targets_N), dtype=object),
            written_N=np.array(tokens.decode(said.answers_N), dtype=object),
        )

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return the most frequent text of the training clips; of equally frequent ones the first by its numbers."""
        texts_UT, counts_U = np.unique(targets_N, axis=0, return_counts=True)
        return np.asarray(texts_UT[counts_U.argmax()])

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say that it writes."""
        if names[0] == OF_A_MODEL:
            what, named = f"with the tokens of a model, {names[1]}", "Tokens"
        else:
            unit = Vocabulary(tokens=names).unit
            what = f"with {len(names) - 1} {unit}s"
            named = "Words" if unit is Unit.WORD else "Characters"
        return GoalWords(
            aim=f"writing of {target}",
            says=f"Writes {target} {what}",
            named=named,
            always="It writes something also about clips that are unlike all that it learnt from.",
        )

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return the text."""
        return {"text": _tokens_of(names).decode(answer[None])[0]}


def _require_written(texts: Sequence[str], written: Sequence[str], model: ModelConfig) -> None:
    """Refuse a tokenizer that cannot write the labels: what it lost would be missing from the truth too."""
    lost = [(text, back) for text, back in zip(texts, written, strict=True) if text != back]
    if lost:
        raise ConfigError(
            f"the tokenizer of goal_options.model cannot write {len(lost)} of {len(texts)} texts of {model.target!r} "
            f"as they are: {lost[0][0]!r} comes back as {lost[0][1]!r}. Write the labels in its alphabet and case, or "
            "name another model"
        )


def _tokens_of(names: tuple[str, ...]) -> Vocabulary | ModelTokens:
    return ModelTokens.named(names) if names[0] == OF_A_MODEL else Vocabulary(tokens=names)
