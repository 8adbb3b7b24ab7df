"""Who likes a clip: whole orders of a batch, or each user's yes or no."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmpipe.config import RankLoss, RankOptions, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.base import Objective
from mmpipe.train.objectives.multilabel import multilabel_cross_entropy


class RankObjective(Objective):
    """Targets are the relevance of a clip to each user [B, U]; a score is the pairwise accuracy within its batch."""

    measure: ClassVar[str] = "pairwise accuracy"

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, training_targets: np.ndarray, device: torch.device
    ) -> None:
        super().__init__(spec, config, training_targets, device)
        self.is_pairwise = RankOptions(**spec.goal_options).loss is RankLoss.PAIRWISE

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where a target is not a relevance to each user."""
        wanted = (len(targets_N), len(spec.classes))
        if targets_N.shape != wanted or not (targets_N >= 0).all():
            raise ConfigError(f"the targets must be relevances >= 0, {wanted}, to the users {list(spec.classes)}")

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the loss of every clip."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return self.alone_losses(model.goal, out.logits_BK, target)

    def alone_losses(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the loss of some scores."""
        if not self.is_pairwise:
            return multilabel_cross_entropy(logits_BK, (target > 0).to(logits_BK.dtype))
        return pairwise_losses(logits_BK, target)

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return, per clip, how often users who like it score it above what they like less."""
        assert out.logits_BK is not None, "FusionModel always decides"
        return self.alone_scores(model.goal, out.logits_BK, target)

    def alone_scores(self, part: GoalPart, logits_BK: Tensor, target: Tensor) -> Tensor:
        """Return the same of some scores; a clip without such a pair has the mean of the others."""
        above_BBU = target[:, None] > target[None]
        won_BBU = (logits_BK[:, None] > logits_BK[None]).double()
        pairs_B = above_BBU.sum((1, 2))
        shares_B = (won_BBU * above_BBU).sum((1, 2)) / pairs_B.clamp(min=1)
        has_B = pairs_B > 0
        rest = shares_B[has_B].mean() if has_B.any() else shares_B.new_tensor(0.5)
        return torch.where(has_B, shares_B, rest)


def pairwise_losses(scores_BU: Tensor, relevance_BU: Tensor) -> Tensor:
    """Return per clip i the mean over users u and clips j that u likes less of -log sigmoid(s_ui - s_uj).

    Bayesian personalised ranking (Rendle et al. 2009) over all pairs of a batch. A clip that nobody likes more than
    another has loss 0 of its own, and is what others are above.
    """
    below_BBU = relevance_BU[:, None] > relevance_BU[None]
    losses_BBU = softplus(scores_BU[None] - scores_BU[:, None])
    return (losses_BBU * below_BBU).sum((1, 2)) / below_BBU.sum((1, 2)).clamp(min=1)
