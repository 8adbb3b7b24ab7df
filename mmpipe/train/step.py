"""The gradient of one step: of all its batches, and of all processes, as if it were one big batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmpipe.config import Precision, TrainConfig
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.preprocess import Prepared
from mmpipe.train.augment import hide_modalities, hide_spans, mix_pairs, span_masks
from mmpipe.train.augment_pictures import change_pictures, picture_inputs
from mmpipe.train.data import PreparedData
from mmpipe.train.deterministic import reseed
from mmpipe.train.goals.base import Objective
from mmpipe.train.modality_balance import balance_gradients, leading_coefficients, true_class_chances
from mmpipe.train.ranks import Ranks
from mmpipe.train.totals import StepTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step came to; its gradient is in the parameters, clipped."""

    loss: float
    norm: float  # before clipping
    finite: bool  # else it may not change the weights
    bad_positions: np.ndarray  # of this process's clips whose own loss is not finite


_NONE = np.empty(0, np.int64)


class GradientMaker:
    """Makes gradients of a network on preprocessed clips; targets are by position, training clips first."""

    def __init__(
        self,
        model: FusionModel,
        data: PreparedData,
        targets_P: Tensor,
        objective: Objective,
        config: TrainConfig,
        seed: int,
        ranks: Ranks,
        device: torch.device,
    ) -> None:
        self.model, self.data, self.targets_P, self.config, self.seed = model, data, targets_P, config, seed
        self.objective, self.ranks, self.device = objective, ranks, device
        self.parameters = list(model.parameters())
        self.pictures = picture_inputs(model.spec, config)
        self.masks = span_masks(model.spec, model.preprocessors, config)

    def make(self, positions: np.ndarray, epoch: int, step: int) -> StepResult:
        """Put the gradient of these clips' loss into the parameters, balanced and clipped.

        All that is random about the clips is drawn for the whole step, so that neither the number of batches nor that
        of processes changes it.
        """
        self._reseed(f"draws {step}", epoch)
        prepared, target = self._augmented(positions)
        totals = StepTotals.of(len(target), prepared, self.objective.weights_B(target))
        self._reseed(f"rank {self.ranks.rank} {step}", epoch)
        value, clip_losses = 0.0, []
        chances: dict[str, Tensor] = {}
        for start in range(0, len(positions), self.config.batch_clips):
            rows = self.ranks.share(np.arange(start, min(start + self.config.batch_clips, len(positions))))
            if not len(rows) and not self.objective.compares_clips:  # what compares them meets the others in each batch
                continue
            part, part_target = prepared, target
            if len(rows) < len(positions):
                rows_R = torch.from_numpy(rows).to(self.device)
                part, part_target = {name: entry.take(rows_R) for name, entry in prepared.items()}, target[rows_R]
            loss, clip_losses_B = self._backward(part, part_target, totals, chances)
            value += loss
            clip_losses.append((positions[rows], clip_losses_B))
        value = self._reduced(value, chances)
        if chances:
            self._balance(chances, epoch, step)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm).item()
        is_finite = math.isfinite(value) and math.isfinite(norm)
        return StepResult(
            loss=value, norm=norm, finite=is_finite, bad_positions=_NONE if is_finite else _bad(clip_losses)
        )

    def _augmented(self, positions: np.ndarray) -> tuple[Mapping[str, Prepared], Tensor]:
        """Return a step's clips as the network is to see them, and what it should say."""
        prepared = hide_modalities(self.data.take(positions), self.model.spec.modality_dropout)
        prepared = change_pictures(prepared, self.pictures, self.config)
        prepared = hide_spans(prepared, self.masks)
        target = self.targets_P[torch.from_numpy(positions)]
        if self.config.mixup_alpha:
            prepared, target = mix_pairs(prepared, self.objective.mixable(target), self.config.mixup_alpha)
        return moved(prepared, self.device), target.to(self.device)

    def _backward(
        self, prepared: Mapping[str, Prepared], target: Tensor, totals: StepTotals, chances: dict[str, Tensor]
    ) -> tuple[float, Tensor]:
        """Add the gradient of one batch, and what its modalities say alone; return its loss and that of its clips."""
        mixed = self.config.precision is Precision.BF16
        with torch.autocast(self.device.type, torch.bfloat16) if mixed else nullcontext():
            out = self.model.forward_prepared(prepared)
            loss, clip_losses_B = self.objective.training_loss(self.model, out, target, prepared, totals)
        loss.backward()
        if self.config.balance_alpha and out.per_modality:
            present = {name: part.present_B for name, part in prepared.items()}
            for name, sums in true_class_chances(out.per_modality, target, present).items():
                chances[name] = chances[name] + sums if name in chances else sums
        return loss.item(), clip_losses_B

    def _reduced(self, value: float, chances: dict[str, Tensor]) -> float:
        """Sum gradients, loss and chances over all processes."""
        if self.ranks.size == 1:
            return value
        self.ranks.sum_gradients(self.parameters)
        if self.config.balance_alpha and len(self.model.unimodal_heads):
            for name in self.model.unimodal_heads:  # a process without clips has none of its own
                chances[name] = self.ranks.sum(chances.get(name, torch.zeros(2, device=self.device)))
        return self.ranks.sum(torch.tensor(value, dtype=torch.float64, device=self.device)).item()

    def _balance(self, chances: Mapping[str, Tensor], epoch: int, step: int) -> None:
        """Hold back the leading modality's encoder."""
        self._reseed(f"noise {step}", epoch)
        scores = {name: float(right / count.clamp(min=1)) for name, (right, count) in chances.items()}
        coefficients = leading_coefficients(scores, self.config.balance_alpha)
        balance_gradients(dict(self.model.encoders.items()), coefficients, with_noise=self.config.balance_noise)

    def _reseed(self, purpose: str, epoch: int) -> None:
        """Give several processes equal draws, and draws of their own; one alone just draws on."""
        if self.ranks.size > 1:
            reseed(self.seed, purpose, epoch)


def moved(prepared: Mapping[str, Prepared], device: torch.device) -> Mapping[str, Prepared]:
    """Return the values on a device."""
    if device.type == "cpu":
        return prepared
    return {
        name: Prepared(
            x_BSK=part.x_BSK.to(device),
            present_B=part.present_B.to(device),
            mask_BS=None if part.mask_BS is None else part.mask_BS.to(device),
        )
        for name, part in prepared.items()
    }


def _bad(clip_losses: Sequence[tuple[np.ndarray, Tensor]]) -> np.ndarray:
    """Return the positions of clips whose loss is not finite."""
    bad = [positions[~torch.isfinite(losses_B).cpu().numpy()] for positions, losses_B in clip_losses]
    return np.concatenate([_NONE, *bad])
