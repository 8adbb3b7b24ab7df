"""What training minimises."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import cross_entropy

from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared


def training_loss(
    out: FusionOutput,
    labels_B: Tensor,
    prepared: Mapping[str, Prepared],
    *,
    label_smoothing: float,
    unimodal_weight: float,
) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, and the cross-entropy of every clip.

    loss = CE(fused) + unimodal_weight * mean over modalities of CE(from it alone, over the clips that have it)
    + the fusion's own extra losses.
    """
    clip_losses_B = fused_loss(out, labels_B, label_smoothing)
    loss = clip_losses_B.mean()
    if out.per_modality and unimodal_weight:
        weight = unimodal_weight / len(out.per_modality)
        for name, logits_BK in out.per_modality.items():
            present_B = prepared[name].present_B
            losses_B = cross_entropy(logits_BK, labels_B, label_smoothing=label_smoothing, reduction="none")
            loss = loss + weight * (losses_B * present_B).sum() / present_B.sum().clamp(min=1)
    for extra in out.aux.values():
        loss = loss + extra
    return loss, clip_losses_B.detach()


def fused_loss(out: FusionOutput, labels_B: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of every clip."""
    assert out.logits_BK is not None, "FusionModel always decides"
    return cross_entropy(out.logits_BK, labels_B, label_smoothing=label_smoothing, reduction="none")
