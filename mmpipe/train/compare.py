"""How far two networks are apart: by their tensors, and by what they say of the same clips."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from mmpipe.fusion.files import WEIGHTS_NAME
from mmpipe.fusion.model import FusionModel
from mmpipe.train.data import ClipSource, tensors_of
from mmpipe.train.deterministic import on_threads
from mmpipe.train.export import ExportedForward

BATCH_CLIPS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDifference:
    """What of two networks' tensors differs."""

    first: str  # by name, the first that differs; "" where all are equal
    max_difference: float  # over all of equal shape


def tensors_digest(model: FusionModel) -> str:
    """Return the sha256 over all tensors with their names and shapes, whatever file they lie in."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        hasher.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        hasher.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def compare_weights(then: Path, now: Path) -> TensorDifference:
    """Compare the weights of two folders."""
    before, after = (safetensors.torch.load_file(folder / WEIGHTS_NAME) for folder in (then, now))
    names = sorted({*before, *after})
    unequal = [
        name for name in names if name not in before or name not in after or not _equal(before[name], after[name])
    ]
    pairs = [(before[name], after[name]) for name in unequal if name in before and name in after]
    far = [_distance(left, right) for left, right in pairs if left.shape == right.shape]
    return TensorDifference(first=unequal[0] if unequal else "", max_difference=max(far, default=0.0))


def ask(model: FusionModel, source: ClipSource, rows: np.ndarray) -> np.ndarray:
    """Return what a network says of rows, float32 [N, ...]."""
    forward = ExportedForward(model.eval())
    parts = []
    with on_threads(1), torch.no_grad():
        for start in range(0, len(rows), BATCH_CLIPS):
            batch = source.gather(rows[start : start + BATCH_CLIPS])
            parts.append(forward(tensors_of(batch, model.spec.features))[0].numpy())
    return np.concatenate(parts)


def _equal(left: Tensor, right: Tensor) -> bool:
    return left.dtype == right.dtype and torch.equal(left, right)


def _distance(left: Tensor, right: Tensor) -> float:
    return float((left.double() - right.double()).abs().max()) if left.numel() else 0.0
