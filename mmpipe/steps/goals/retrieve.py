"""Which clip of the other side belongs to a clip; the target says which pairs are equal, and nothing else.

A text is an input here and no label: a side is embedded from its own inputs alone, and the ids of equal pairs reach the
network only as clips that are not told apart. So a text beside a target of the same words gives nothing away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from mmpipe.config import Goal, ModelConfig
from mmpipe.config.retrieving import RetrieveOptions, sides_of
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.matches import SIDES, MatchAnswers
from mmpipe.steps.goals.base import GoalWords, Said, Targets
from mmpipe.steps.goals.column import column_values, require_values
from mmpipe.types import FeatureSchema


class RetrieveSteps:
    """Clips with one value of the target (a sentence said twice) are equal; one without is equal to none."""

    goal = Goal.RETRIEVE
    can_be_shuffled = False  # a pair is a clip's own two sides: ids that change places still leave it one

    def read(self, model: ModelConfig, spine: pl.DataFrame) -> Targets:
        """Return ids of equal pairs."""
        values = column_values(spine, model.target) if model.target else [""] * len(spine)
        require_values(model, spine, model.target, len(spine) if not model.target else sum(map(bool, values)))
        names = [value or f"clip {key}" for value, key in zip(values, spine["key"], strict=True)]
        _, ids_N = np.unique(np.array(names), return_inverse=True)
        if ids_N.max() == 0:
            raise ConfigError(
                f"all {len(spine)} clips have one value of the target {model.target!r}, so that all are equal pairs. "
                "Name a column that tells sentences or things apart, or none: target = ''"
            )
        return Targets(
            rows_N=np.arange(len(spine)),
            values_N=ids_N.astype(np.int64),
            names=(),
            told=("",) * len(spine),
        )

    def match_rows(
        self,
        targets: Targets,
        model: ModelConfig,
        schemas: Sequence[FeatureSchema],
        lengths: Callable[[str], np.ndarray],
    ) -> Targets:
        """Leave out clips that lack a whole side: they can neither ask nor be found."""
        sides = sides_of([schema.feature for schema in schemas], RetrieveOptions(**model.goal_options).query)
        has = [
            np.any([lengths(name)[targets.rows_N] > 0 for name in side], axis=0) for side in (sides.query, sides.items)
        ]
        rows = np.flatnonzero(has[0] & has[1])
        if not len(rows):
            raise ConfigError(
                f"none of {len(targets.rows_N)} clips has an input of both sides, {list(sides.query)} and "
                f"{list(sides.items)}. See what the corpus has: mmpipe status"
            )
        return replace(
            targets,
            rows_N=targets.rows_N[rows],
            values_N=targets.values_N[rows],
            told=tuple(targets.told[row] for row in rows),
        )

    def answers(self, said: Said) -> MatchAnswers:
        """Return where each clip was found among those that were asked about together."""
        return MatchAnswers.found(said.keys, said.groups, said.targets_N, said.answers_N[:, 0], said.answers_N[:, 1])

    def constant(self, targets_N: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return both sides as nothing: everything ties, and counts against it."""
        return np.zeros((2, 1))

    def words(self, target: str, names: tuple[str, ...]) -> GoalWords:
        """Say that it embeds two sides."""
        equal = f" Clips of one value of {target} are equal to it." if target else ""
        return GoalWords(
            aim="retrieval across modalities",
            says="Gives both sides vectors of one shared space, near each other where they belong together,",
            named="",
            always=f"It always finds something nearest, also for clips that nothing belongs to.{equal}",
        )

    def answer(self, answer: np.ndarray, names: tuple[str, ...]) -> Mapping[str, object]:
        """Return both vectors, and how near they are to each other; a side that is missing has none."""
        vectors = {name: vector_D for name, vector_D in zip(SIDES, answer, strict=True) if vector_D.any()}
        return {
            "similarity": float(answer[0] @ answer[1]) if len(vectors) == len(SIDES) else None,
            "vectors": {name: vector_D.tolist() for name, vector_D in vectors.items()},
        }
