"""A released network in memory: from the features of clips to its answers, at its temperature.

Axes: N clips, B clips of a batch, T time steps, D feature dimension.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmpipe.config import Goal
from mmpipe.errors import StoreError
from mmpipe.evaluate.temperature import at_temperature
from mmpipe.registry.versions import Version, local_version
from mmpipe.steps.ask.answers import Answer, Unanswered
from mmpipe.steps.ask.ask_work import AskedClip
from mmpipe.steps.goals.registry import steps_of
from mmpipe.types import Batch, FeatureSchema, ModalityBatch

if TYPE_CHECKING:
    from mmpipe.fusion.model import FusionModel  # it loads torch

NO_INPUT = "no_input"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedNetwork:
    """The weights of a version, and how what they say is told."""

    version: Version
    model: FusionModel
    schemas: Mapping[str, FeatureSchema]  # of the features that it reads
    temperature: float = 1.0

    def warm_up(self) -> None:
        """Answer once about a clip of zeros."""
        zeros = {name: np.zeros((1, schema.dim), schema.dtype) for name, schema in self.schemas.items()}
        self.answer([AskedClip(source="", key="", start_ns=0, end_ns=1, values=zeros)])

    def answer(self, clips: Sequence[AskedClip]) -> tuple[list[Answer], list[Unanswered]]:
        """Answer for every clip, in one call of the network; a clip with none of the inputs has a reason instead."""
        from mmpipe.train.weights import infer

        known = [clip for clip in clips if clip.values]
        lost = [_without_input(clip) for clip in clips if not clip.values]
        if not known:
            return [], lost
        answers_N = infer(self.model, HeldClips(known, self.schemas), np.arange(len(known))).answers_N
        if self.model.spec.goal is Goal.CLASSIFY:
            answers_N = at_temperature(answers_N.astype(np.float64), self.temperature)
        goal = steps_of(self.model.spec.goal)
        return [
            Answer(
                source=clip.source,
                key=clip.key,
                start_s=clip.start_ns / 1e9,
                end_s=clip.end_ns / 1e9,
                said=goal.answer(answer, self.model.spec.classes),
            )
            for clip, answer in zip(known, answers_N, strict=True)
        ], lost


def load_network(version: Version, schemas: Mapping[str, FeatureSchema]) -> ReleasedNetwork:
    """Read the weights of a version."""
    from mmpipe.train.weights import load_model

    model = load_model(local_version(version))
    temperature = 1.0
    if model.spec.goal is Goal.CLASSIFY:
        temperature = float(json.loads(version.read("metrics.json"))["temperature"])
    return ReleasedNetwork(version=version, model=model, schemas=schemas, temperature=temperature)


def _without_input(clip: AskedClip) -> Unanswered:
    detail = "there is none of the model's inputs in this clip"
    return Unanswered(source=clip.source, code=NO_INPUT, detail=detail, key=clip.key)


class HeldClips:
    """Gathers clips by their place, as a reader of shards does."""

    def __init__(self, clips: Sequence[AskedClip], schemas: Mapping[str, FeatureSchema]) -> None:
        self._clips, self._schemas = clips, schemas

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the clips of these rows; what is missing is masked."""
        clips = [self._clips[row] for row in rows.tolist()]
        return Batch(
            keys=tuple(clip.key for clip in clips),
            features={name: _gather_one(clips, name, schema) for name, schema in self._schemas.items()},
            labels_B=np.full(len(clips), -1, np.int64),
        )


def _gather_one(clips: Sequence[AskedClip], name: str, schema: FeatureSchema) -> ModalityBatch:
    found = [clip.values.get(name) for clip in clips]
    values = [None if value is None else _steps_of(value, name, schema.dim) for value in found]
    lengths_B = np.array([0 if value is None else len(value) for value in values])
    x_BTD = np.zeros((len(clips), int(lengths_B.max(initial=1)), schema.dim), schema.dtype)
    for row, value in enumerate(values):
        if value is not None:
            x_BTD[row, : len(value)] = value
    return ModalityBatch(x_BTD=x_BTD, mask_BT=np.arange(x_BTD.shape[1]) < lengths_B[:, None])


def _steps_of(value: np.ndarray, name: str, dim: int) -> np.ndarray:
    """Return a value as [T, D]; another D would be read as other steps without anybody noticing."""
    if value.ndim not in (1, 2) or value.shape[-1] != dim:
        raise StoreError(
            f"a value of {name} has the shape {list(value.shape)}, and the model reads {dim} numbers a step"
        )
    return value[None] if value.ndim == 1 else value
