"""The answers of a trained network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmpipe.errors import ConfigError
from mmpipe.fusion.files import load_model as load_model
from mmpipe.fusion.files import save_model as save_model
from mmpipe.fusion.model import FusionModel
from mmpipe.train.data import ClipSource, tensors_of
from mmpipe.train.deterministic import on_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Row n speaks of row n that was asked for; all float32."""

    probabilities_NK: np.ndarray
    z_ND: np.ndarray  # joint embedding
    per_modality_NK: Mapping[str, np.ndarray]  # probabilities from one modality alone; empty for a single input
    weights_N: Mapping[str, np.ndarray]  # the share that the fusion gave each modality; empty where it gives none


def predict(model: FusionModel, source: ClipSource, rows: np.ndarray, batch_clips: int = 64) -> np.ndarray:
    """Return the class probabilities of rows, float32 [N, K]; they do not depend on `batch_clips` (to 1e-6)."""
    return infer(model, source, rows, batch_clips=batch_clips).probabilities_NK


def infer(
    model: FusionModel,
    source: ClipSource,
    rows: np.ndarray,
    hidden: Collection[str] = (),
    batch_clips: int = 64,
    threads: int = 1,
) -> Predictions:
    """Return all that a network says about rows, as if the `hidden` features were missing."""
    spec = model.spec
    if unknown := sorted(set(hidden) - set(spec.features)):
        raise ConfigError(f"cannot hide {unknown}: the model reads {list(spec.features)}")
    was_training = model.training
    model.eval()
    starts = range(0, max(len(rows), 1), batch_clips)
    try:
        with on_threads(threads):
            parts = [_infer_batch(model, source, rows[start : start + batch_clips], hidden) for start in starts]
    finally:
        model.train(was_training)
    return Predictions(
        probabilities_NK=_joined([part.probabilities_NK for part in parts]),
        z_ND=_joined([part.z_ND for part in parts]),
        per_modality_NK={name: _joined([p.per_modality_NK[name] for p in parts]) for name in parts[0].per_modality_NK},
        weights_N={name: _joined([part.weights_N[name] for part in parts]) for name in parts[0].weights_N},
    )


def _infer_batch(model: FusionModel, source: ClipSource, rows: np.ndarray, hidden: Collection[str]) -> Predictions:
    features = {
        name: (x_BTD, mask_BT & (name not in hidden))
        for name, (x_BTD, mask_BT) in tensors_of(source.gather(rows), model.spec.features).items()
    }
    with torch.no_grad():
        out = model(features)
    return Predictions(
        probabilities_NK=_probabilities(out.logits_BK),
        z_ND=out.z_BD.numpy(),
        per_modality_NK={name: _probabilities(logits_BK) for name, logits_BK in out.per_modality.items()},
        weights_N={name: share_B.numpy() for name, share_B in out.weights.items()},
    )


def _probabilities(logits_BK: Tensor) -> np.ndarray:
    return logits_BK.softmax(1).numpy()


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.float32, copy=False)
