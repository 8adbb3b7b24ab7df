"""What a linear model finds where clips are to find each other: what was trained must beat it too.

Linear CCA reads what the networks read, on the same clips: of a sequence the means of a few ordered segments. Inputs,
segments, ridge and size are chosen on the validation clips; then it learns from those too, which a network never does.
Axes: N clips, P and Q dimensions of the two sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmpipe.config import ModelConfig
from mmpipe.config.retrieving import RetrieveOptions, sides_of
from mmpipe.evaluate.answers.base import Answers
from mmpipe.steps.train.training_set import Part, TrainingSet
from mmpipe.types import FeatureKind

REFERENCE = "linear-cca"
SEGMENTS = (5, 10)
LEARNT_CLIPS = 8192  # of more clips it learns from every n-th: as many as principal components look at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sides:
    """Both sides of every clip of a training set as one row each; zeros where a side is missing."""

    query_NP: np.ndarray
    item_NQ: np.ndarray

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both sides of some clips."""
        return self.query_NP[rows], self.item_NQ[rows]


def linear_matches(source: Any, model: ModelConfig, data: TrainingSet, part: Part) -> tuple[Answers, Answers]:
    """Return what linear CCA finds on a part's validation and test clips."""
    from mmpipe.train.cca import Cca, choose_cca, fit_cca

    def answers(rows: np.ndarray, fit: Cca, sides: Sides) -> Answers:
        embedded = (side.embed(x) for side, x in zip((fit.first, fit.second), sides.of(rows), strict=True))
        return data.answers(rows, _as_long(np.stack(list(embedded), axis=1)))

    def score(first_NK: np.ndarray, second_NK: np.ndarray) -> float:
        return data.answers(part.val_rows, np.stack([first_NK, second_NK], axis=1)).worth

    tried = []
    for sides in read_sides(source, model, data, part.train_rows):
        chosen = choose_cca(sides.of(_some(part.train_rows)), sides.of(part.val_rows), score)
        tried.append((answers(part.val_rows, chosen, sides), chosen, sides))
    val, best, sides = max(tried, key=lambda one: one[0].worth)
    learnt = np.concatenate([part.train_rows, part.val_rows])
    fit = fit_cca(*sides.of(_some(learnt)), ridge=best.ridge, dimensions=len(best.correlations_K))
    return val, answers(part.test_rows, fit, sides)


def read_sides(source: Any, model: ModelConfig, data: TrainingSet, train_rows: np.ndarray) -> Iterator[Sides]:
    """Yield all clips in every form that is tried, at deviation 1 on the training clips that have a feature.

    A side of several features is read one by one and whole: a line has no way to leave a weak one alone.
    """
    features = {schema.feature: schema for schema in data.present_schemas()}
    sides = sides_of(tuple(features), RetrieveOptions(**model.goal_options).query)
    forms = [(name,) for name in sides.fused] + ([sides.fused] if len(sides.fused) > 1 else [])
    for segments in SEGMENTS:
        slots = {name: segments if schema.kind is FeatureKind.SEQUENCE else 1 for name, schema in features.items()}
        columns = {name: _scaled(*_read(source, data, name, slots[name]), train_rows) for name in features}
        for form in forms:
            query, items = (form if side == sides.fused else side for side in (sides.query, sides.items))
            yield Sides(query_NP=_beside(columns, query), item_NQ=_beside(columns, items))


def _beside(columns: Mapping[str, np.ndarray], features: Sequence[str]) -> np.ndarray:
    return np.concatenate([columns[name] for name in features], axis=1)


def _read(source: Any, data: TrainingSet, feature: str, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a feature of every clip [N, P], and which clips have it [N]."""
    from mmpipe.fusion.preprocess import pool_segments
    from mmpipe.train.data import chunks, tensors_of

    values, present = [], []
    for batch in chunks(source, data.reader_rows_N):
        x_BTD, mask_BT = tensors_of(batch, [feature])[feature]
        values.append(pool_segments(x_BTD, mask_BT, segments).flatten(1).numpy())
        present.append(mask_BT.any(1).numpy())
    return np.concatenate(values), np.concatenate(present)


def _scaled(x_NP: np.ndarray, present_N: np.ndarray, train_rows: np.ndarray) -> np.ndarray:
    learnt = x_NP[train_rows[present_N[train_rows]]]
    deviation_P = learnt.std(axis=0)
    return np.where(present_N[:, None], (x_NP - learnt.mean(axis=0)) / np.where(deviation_P > 0, deviation_P, 1.0), 0.0)


def _some(rows: np.ndarray) -> np.ndarray:
    return rows[:: -(-len(rows) // LEARNT_CLIPS)]


def _as_long(vectors_N2K: np.ndarray) -> np.ndarray:
    """Return vectors with zeros behind, so that those of all parts are equally long."""
    from mmpipe.train.cca import DIMENSIONS

    return np.pad(vectors_N2K, ((0, 0), (0, 0), (0, max(DIMENSIONS) - vectors_N2K.shape[2])))


def reads_backbones(model: ModelConfig, features: Sequence[str]) -> bool:
    """Say whether an input is stored as pictures or tokens, of which a line makes nothing."""
    configs = [model.encoders.get(name.partition("@")[0], model.encoder) for name in features]
    return any(config.backbone for config in configs)
