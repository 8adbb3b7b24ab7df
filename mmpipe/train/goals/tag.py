"""Tags of words: their likelihood, each word alone, or all of a sentence together."""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from mmpipe.config import TrainConfig
from mmpipe.config.tagging import TagOptions
from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.tag import Tag
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.base import Objective


class TagObjective(Objective):
    """Targets are the tags [B, T], -1 behind the end. What is minimised is -log p(tags) per word, not per clip: a clip
    counts as often as it has words. The score of a clip is the share of its words that have the right tag.
    """

    measure: ClassVar[str] = "word accuracy"

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, training_targets: np.ndarray, device: torch.device
    ) -> None:
        super().__init__(spec, config, training_targets, device)
        if config.label_smoothing and TagOptions(**spec.goal_options).crf:
            raise ConfigError("label_smoothing is of tags that are decided word by word: set it to 0, or crf = false")

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where tags are not the spec's, or a clip has none, or one behind its end."""
        most = TagOptions(**spec.goal_options).max_words
        if targets_N.ndim != 2 or targets_N.shape[1] > most:
            raise ConfigError(f"the targets must be tags of (clips, at most {most} words), got {targets_N.shape}")
        is_word_NT = targets_N >= 0
        is_wrong_N = (targets_N >= len(spec.classes)).any(axis=1) | ~is_word_NT[:, 0]
        is_wrong_N |= (np.diff(is_word_NT.astype(np.int8), axis=1) > 0).any(axis=1)
        if is_wrong_N.any():
            raise ConfigError(
                f"{int(is_wrong_N.sum())} of {len(targets_N)} rows have no tags, a gap between them, or one that is "
                f"not among {list(spec.classes)[:20]}; leave them out"
            )

    def weights_B(self, target: Tensor) -> Tensor | None:
        """Return the number of words of each clip."""
        return (target >= 0).sum(1).float()

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return -log p of the tags of each clip, summed over its words."""
        return _part(model).losses(out, self._to_width(model, target), self.config.label_smoothing)

    def plain_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the same without smoothing, divided by the words: every validation clip counts the same."""
        return _part(model).losses(out, self._to_width(model, target)) / (target >= 0).sum(1)

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the share of words that have the right tag."""
        target = self._to_width(model, target)
        right_BT = (_part(model).answers(out) == target) & (target >= 0)
        return right_BT.sum(1).double() / (target >= 0).sum(1)

    def _to_width(self, model: FusionModel, target_BT: Tensor) -> Tensor:
        """Return the targets with as many places as there are scores."""
        missing = _part(model).max_words - target_BT.shape[1]
        return torch.nn.functional.pad(target_BT, (0, missing), value=-1)


def _part(model: FusionModel) -> Tag:
    return cast(Tag, model.goal)
