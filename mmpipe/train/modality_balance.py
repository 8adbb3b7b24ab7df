"""OGM-GE: hold back the encoder of the modality that leads, so that the others are learnt too (Peng et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def leading_coefficients(scores: Mapping[str, float], alpha: float) -> dict[str, float]:
    """Return what each encoder's gradient is multiplied by.

    s_m is the mean chance that modality m alone gives the right class. rho_m = s_m over the mean of the other s;
    k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1. With two modalities that is the paper's; the scores come from
    the per-modality heads, where the paper splits the joint classifier.
    """
    coefficients = {}
    for name, score in scores.items():
        others = [other for key, other in scores.items() if key != name]
        ratio = score / max(sum(others) / len(others), 1e-8)
        coefficients[name] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    return coefficients


def true_class_chances(
    per_modality: Mapping[str, Tensor], target: Tensor, present: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return, by modality, the summed chance of the right class and the number of clips that have it, [2]."""
    sums = {}
    for name, logits_BK in per_modality.items():
        chances_BK = logits_BK.detach().float().softmax(1)
        right_B = (chances_BK * target).sum(1) if target.ndim == 2 else chances_BK.gather(1, target[:, None])[:, 0]
        sums[name] = torch.stack([(right_B * present[name]).sum(), present[name].sum().float()])
    return sums


def balance_gradients(
    encoders: Mapping[str, nn.Module], coefficients: Mapping[str, float], *, with_noise: bool
) -> None:
    """Scale every encoder's gradient by its coefficient; with noise (GE) add N(0, std of the gradient) to it.

    The noise gives back the variance that scaling took, which helps to generalise. As in the authors' code the
    deviation is of the gradient before it is scaled, and parameters of a single number have none.
    """
    for name, encoder in encoders.items():
        for parameter in encoder.parameters():
            gradient = parameter.grad
            if gradient is None:
                continue
            deviation = gradient.std().item() if with_noise and gradient.numel() > 1 else 0.0
            gradient.mul_(coefficients[name])
            if with_noise:
                noise = torch.randn(gradient.shape) * (deviation + 1e-8)
                gradient.add_(noise.to(gradient))
