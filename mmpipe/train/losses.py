"""What training minimises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTotals:
    """What the losses of all batches of a step are divided by: their sum is then that of one big batch."""

    clips: int
    weight: Tensor | int  # of all clips: their number, or the sum of their classes' weights
    present: Mapping[str, Tensor | int]  # feature -> the same over the clips that have it, at least 1
    complete: frozenset[str]  # features that every clip has

    @classmethod
    def of(cls, target: Tensor, prepared: Mapping[str, Prepared], class_weights_K: Tensor | None = None) -> StepTotals:
        """Count a step's clips; targets are class indices [B] or shares of classes [B, K]."""
        counts_M = torch.stack([part.present_B for part in prepared.values()]).sum(1).tolist() if prepared else []
        counts = dict(zip(prepared, counts_M, strict=True))
        complete = frozenset(name for name, count in counts.items() if count == len(target))
        if class_weights_K is None:
            return cls(
                clips=len(target),
                weight=len(target),
                present={name: max(count, 1) for name, count in counts.items()},
                complete=complete,
            )
        weights_B = class_weights_K[target] if target.ndim == 1 else target @ class_weights_K
        sums = {name: (weights_B * part.present_B).sum() for name, part in prepared.items()}
        present = {name: torch.where(total > 0, total, 1.0) for name, total in sums.items()}
        return cls(clips=len(target), weight=weights_B.sum(), present=present, complete=complete)


def training_loss(
    out: FusionOutput,
    target: Tensor,
    prepared: Mapping[str, Prepared],
    *,
    label_smoothing: float,
    unimodal_weight: float,
    class_weights_K: Tensor | None = None,
    totals: StepTotals | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch as its part of its step's, and the cross-entropy of every clip.

    loss = CE(fused) + unimodal_weight * mean over modalities of CE(from it alone, over the clips that have it)
    + the fusion's own extra losses. Targets are class indices [B] or shares of classes [B, K]; with class weights CE
    is the weighted mean that torch takes for indices. Without `totals` the batch is the whole step.
    """
    totals = totals or StepTotals.of(target, prepared, class_weights_K)
    clip_losses_B = fused_loss(out, target, label_smoothing, class_weights_K)
    loss = clip_losses_B.sum() / totals.weight
    if out.per_modality and unimodal_weight:
        weight = unimodal_weight / len(out.per_modality)
        for name, logits_BK in out.per_modality.items():
            losses_B = cross_entropy(
                logits_BK, target, class_weights_K, label_smoothing=label_smoothing, reduction="none"
            )
            if name not in totals.complete:
                losses_B = losses_B * prepared[name].present_B
            loss = loss + weight * losses_B.sum() / totals.present[name]
    for extra in out.aux.values():
        loss = loss + extra * (len(target) / totals.clips)
    return loss, clip_losses_B.detach()


def fused_loss(
    out: FusionOutput, target: Tensor, label_smoothing: float = 0.0, class_weights_K: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of every clip."""
    assert out.logits_BK is not None, "FusionModel always decides"
    return cross_entropy(out.logits_BK, target, class_weights_K, label_smoothing=label_smoothing, reduction="none")
