"""Several of K classes at once: one yes or no for each.

Axes: B clips, K classes. One loss per clip, [B]: what is averaged is the caller's choice.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def multilabel_cross_entropy(
    logits_BK: Tensor, targets_BK: Tensor, *, known_BK: Tensor | None = None, positive_weights_K: Tensor | None = None
) -> Tensor:
    """Return the mean binary cross-entropy over the labels of a clip that are known, [B]; 0 where none is."""
    losses_BK = binary_cross_entropy_with_logits(
        logits_BK, targets_BK.to(logits_BK.dtype), pos_weight=positive_weights_K, reduction="none"
    )
    if known_BK is None:
        return losses_BK.mean(1)
    return torch.where(known_BK, losses_BK, 0.0).sum(1) / known_BK.sum(1).clamp(min=1)
