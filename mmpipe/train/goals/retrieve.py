"""Clips of one side find those of another: symmetric InfoNCE, against all other clips of the batch.

Axes: B clips, D dimensions of the shared space.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mmpipe.config import TrainConfig
from mmpipe.config.retrieving import RetrieveOptions
from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.retrieve import matched_of
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.base import Objective
from mmpipe.train.objectives.contrastive import Pair, info_nce, info_nce_of_pairs
from mmpipe.train.totals import StepTotals

TIE = 1e-6  # closer than that, two cosines are equal: float32 says no more


class RetrieveObjective(Objective):
    """Targets are ids of equal pairs, int64 [B]: clips of one id are no negatives of each other.

    A clip's score is its mean reciprocal rank both ways among the clips that are validated together.
    """

    measure: ClassVar[str] = "mean reciprocal rank"
    compares_clips: ClassVar[bool] = True

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, training_targets: np.ndarray, device: torch.device
    ) -> None:
        super().__init__(spec, config, training_targets, device)
        if config.label_smoothing:
            raise ConfigError("train.label_smoothing is for classes; with goal = 'retrieve' set it to 0")
        if config.batch_clips < 2:
            raise ConfigError("goal = 'retrieve' compares the clips of a batch: train.batch_clips must be at least 2")
        self.pairs = pairs_of(spec)
        if self.pairs and not config.unimodal_weight:
            raise ConfigError(
                "train.unimodal_weight is what each input's own place in the shared space is trained by; with "
                "goal = 'retrieve' and several inputs of a side it must be above 0"
            )

    @classmethod
    def check_targets(cls, spec: ModelSpec, targets_N: np.ndarray) -> None:
        """Raise ConfigError where a target is no id."""
        if targets_N.ndim != 1 or targets_N.dtype != np.int64 or (targets_N < 0).any():
            raise ConfigError(f"the targets of goal = 'retrieve' must be ids of pairs, got {targets_N.dtype}")

    def clip_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the loss of both sides, against the clips of all processes."""
        return _side_losses(out, target, together=True)

    def plain_losses(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the same against the clips of this process, which validates all."""
        return _side_losses(out, target, together=False)

    def scores(self, model: FusionModel, out: FusionOutput, target: Tensor) -> Tensor:
        """Return the mean of 1 / rank both ways; what a clip lacks ties with everything and stands last."""
        matched = matched_of(out)
        similarity_BB = matched.query_BD.double() @ matched.item_BD.double().T
        right_BB = target[:, None] == target[None]
        return (reciprocal_ranks(similarity_BB, right_BB) + reciprocal_ranks(similarity_BB.T, right_BB)) / 2

    def training_loss(
        self,
        model: FusionModel,
        out: FusionOutput,
        target: Tensor,
        prepared: Mapping[str, Prepared],
        totals: StepTotals,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch as its part of its step's, and the loss of every clip.

        loss = mean(InfoNCE of both sides) + unimodal_weight * mean over pairs of features of theirs, where a side has
        several, + the fusion's own extra losses.
        """
        clip_losses_B = self.clip_losses(model, out, target)
        total = clip_losses_B.sum()
        if self.pairs:
            matched = matched_of(out)
            pair_losses_B = info_nce_of_pairs(
                matched.views, matched.present, self.pairs, matched.scale, groups_B=target
            )
            total = total + self.config.unimodal_weight * pair_losses_B.sum()
        for extra in out.aux.values() if len(target) else ():  # the mean of nothing is no number
            total = total + extra * len(target)
        return total / totals.clips, clip_losses_B.detach()


def pairs_of(spec: ModelSpec) -> tuple[Pair, ...]:
    """Return which features are aligned beside the two sides: every two of them, or each with the anchor.

    None where each side is one feature: their loss is that of the sides. An anchor that this network does not read is
    none. As ImageBind (Girdhar et al. 2023) binds modalities to one.
    """
    if len(spec.features) == 2:
        return ()
    anchor = RetrieveOptions(**spec.goal_options).anchor
    found = [name for name in spec.features if anchor and name.partition("@")[0] == anchor.partition("@")[0]]
    pairs = combinations(spec.features, 2)
    return tuple(pair for pair in pairs if not found or found[0] in pair)


def reciprocal_ranks(similarity_QC: Tensor, right_QC: Tensor) -> Tensor:
    """Return 1 / place [Q] of each query's best right candidate; ties are counted against it."""
    lowest = torch.finfo(similarity_QC.dtype).min
    best_Q1 = torch.where(right_QC, similarity_QC, lowest).amax(1, keepdim=True)
    before_Q = (~right_QC & (similarity_QC >= best_Q1 - TIE)).sum(1)
    return 1 / (before_Q + 1).double()


def _side_losses(out: FusionOutput, target: Tensor, *, together: bool) -> Tensor:
    matched = matched_of(out)
    return info_nce(
        matched.query_BD,
        matched.item_BD,
        matched.scale,
        groups_B=target,
        present_B=matched.has_query_B & matched.has_item_B,
        together=together,
    )
