"""One class of K, yes or no, or several of K at once.

Axes: B clips, K classes. Every function returns one loss per clip, [B]: what is averaged is the caller's choice.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax


def softmax_cross_entropy(
    logits_BK: Tensor, targets_BK: Tensor, *, class_weights_K: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return -sum_k w_k t_k log softmax(l)_k, [B]; targets are shares of classes that sum to 1.

    With smoothing e, t becomes (1 - e) t + e / K (Szegedy et al. 2016). Averaging by the sum of the clips' weights, as
    `torch.nn.functional.cross_entropy` does for hard targets, takes `clip_weights`.
    """
    shares_BK = (1 - smoothing) * targets_BK + smoothing / targets_BK.shape[1]
    if class_weights_K is not None:
        shares_BK = shares_BK * class_weights_K
    return -(shares_BK * log_softmax(logits_BK, 1)).sum(1)


def clip_weights(targets_BK: Tensor, class_weights_K: Tensor) -> Tensor:
    """Return what each clip counts under weighted classes, [B]."""
    return targets_BK @ class_weights_K


def binary_cross_entropy(logits_B1: Tensor, targets_B: Tensor, *, positive_weight: float = 1.0) -> Tensor:
    """Return -w y log sigmoid(l) - (1 - y) log(1 - sigmoid(l)), [B], from one logit a clip."""
    weight = torch.tensor(positive_weight, dtype=logits_B1.dtype, device=logits_B1.device)
    return binary_cross_entropy_with_logits(
        logits_B1[:, 0], targets_B.to(logits_B1.dtype), pos_weight=weight, reduction="none"
    )


def two_logits(logits_B1: Tensor) -> Tensor:
    """Return class scores [B, 2] whose softmax is (1 - sigmoid(l), sigmoid(l)): one logit as any classifier's."""
    return torch.cat([torch.zeros_like(logits_B1), logits_B1], 1)


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
