"""A text: cross-entropy of every token, given those before it.

Axes: B clips, T tokens, K what can be written.
"""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmpipe.config.generating import GenerateOptions
from mmpipe.errors import ConfigError
from mmpipe.fusion.decoding.vocabulary import PADDING
from mmpipe.fusion.goals.generate import Generate
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.base import Objective


class GenerateObjective(Objective):
    """Targets are the numbers of tokens, int64 [B, T], -1 behind the end; the true tokens before are given.

    The loss of a clip is the mean over its tokens, its end among them. Its score is the share of its tokens that are
    the likeliest where all before them are right: cheap, and no word accuracy, which comes from what is written freely.
    """

    measure: ClassVar[str] = "token accuracy"

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where a text has no token, one that is not known, or more than may be written."""
        options = GenerateOptions(**spec.goal_options)
        if targets_N.ndim != 2 or (targets_N[:, :1] < 0).any() or not targets_N.shape[1]:
            raise ConfigError("every clip needs a text with its end; leave out clips without one")
        longest = int((targets_N != PADDING).sum(1).max(initial=0))
        if longest > options.max_tokens:
            raise ConfigError(
                f"goal_options.max_tokens = {options.max_tokens}: a text of the labels has {longest} tokens with its "
                "end. Set it higher, or leave it out"
            )
        if not options.model and targets_N.max(initial=0) >= len(spec.classes):
            raise ConfigError(f"a text has the token {targets_N.max()}, the vocabulary has {len(spec.classes)}")

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the mean cross-entropy of a clip's tokens, smoothed as the config says."""
        return _mean_losses(model, out, target, self.config.label_smoothing)

    def plain_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the mean cross-entropy of a clip's tokens."""
        return _mean_losses(model, out, target, 0.0)

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the share of a clip's tokens that are the likeliest in their place."""
        right_BT = _logits(model, out, target).argmax(2) == target
        return (right_BT & (target != PADDING)).sum(1).double() / (target != PADDING).sum(1)


def _mean_losses(model: FusionModel, out: FusionOutput, target: Tensor, smoothing: float) -> Tensor:
    logits_BKT = _logits(model, out, target).transpose(1, 2)
    losses_BT = cross_entropy(logits_BKT, target, ignore_index=PADDING, label_smoothing=smoothing, reduction="none")
    real_BT = target != PADDING
    return torch.where(real_BT, losses_BT, 0.0).sum(1) / real_BT.sum(1)


def _logits(model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
    return cast(Generate, model.goal).logits(out, target)
