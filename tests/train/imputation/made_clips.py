"""Clips made in code, as imputers learn from them."""

from __future__ import annotations

import numpy as np
import torch

from mmpipe.train.imputation.observed import Observed

WIDTHS = (3, 4)


def observed(x_NF: np.ndarray, present_NM: np.ndarray | None = None, widths=WIDTHS, groups: int = 6) -> Observed:
    """Numbers as `Observed`, zero where they are missing."""
    x = torch.from_numpy(x_NF.astype(np.float32))
    present = np.ones((len(x), len(widths)), bool) if present_NM is None else present_NM
    here_NF = np.repeat(present, widths, axis=1)
    return Observed(
        features=tuple("abcd"[: len(widths)]),
        widths=tuple(widths),
        x_NF=torch.where(torch.from_numpy(here_NF), x, 0.0),
        present_NM=torch.from_numpy(present),
        groups_N=np.array([f"g{row % groups}" for row in range(len(x))]),
    )


def bent(num_clips: int, seed: int = 0) -> Observed:
    """Two modalities of which each is a function of the other, bent so that no line sees it."""
    rng = np.random.default_rng(seed)
    angle_N = rng.uniform(-np.pi, np.pi, num_clips)
    a_NF = np.stack([np.cos(angle_N), np.sin(angle_N), np.zeros(num_clips)], 1) * 2**0.5
    b_NF = np.stack([np.cos(2 * angle_N), np.sin(2 * angle_N), np.cos(3 * angle_N), np.sin(3 * angle_N)], 1) * 2**0.5
    x_NF = np.concatenate([a_NF, b_NF], 1)
    return observed(x_NF + 0.1 * rng.normal(size=x_NF.shape))


def noise(num_clips: int, seed: int = 0) -> Observed:
    """Two modalities that know nothing of each other."""
    return observed(np.random.default_rng(seed).normal(size=(num_clips, sum(WIDTHS))))
