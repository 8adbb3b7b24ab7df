"""The answers of a trained network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mmpipe.config import Goal
from mmpipe.errors import ConfigError
from mmpipe.fusion.files import load_model as load_model
from mmpipe.fusion.files import save_model as save_model
from mmpipe.fusion.model import FusionModel
from mmpipe.train.data import ClipSource, tensors_of
from mmpipe.train.deterministic import on_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """All that a network says; row n speaks of row n that was asked for."""

    answers_N: np.ndarray  # [N, ...], as the goal has them: of classes their probabilities [N, K]
    z_ND: np.ndarray  # joint embedding
    also_N: Mapping[str, np.ndarray]  # more answers by name, [N, ...] as their goals have them
    per_modality_NK: Mapping[
        str, np.ndarray
    ]  # of classes: probabilities from one modality alone; empty for a single input
    weights_N: Mapping[str, np.ndarray]  # the share that the fusion gave each modality; empty where it gives none
    levels_N: Mapping[
        str, np.ndarray
    ]  # if asked for: what lies between tokens and z, [N, D] or [N, G, D], to search in


def predict(model: FusionModel, source: ClipSource, rows: np.ndarray, batch_clips: int = 64) -> np.ndarray:
    """Return the answers about rows, of classes probabilities [N, K]; `batch_clips` changes them by less than 1e-6."""
    return infer(model, source, rows, batch_clips=batch_clips).answers_N


def infer(
    model: FusionModel,
    source: ClipSource,
    rows: np.ndarray,
    hidden: Collection[str] = (),
    batch_clips: int = 64,
    threads: int = 1,
    levels: bool = False,
) -> Inferred:
    """Return all that a network says about rows, as if the `hidden` features were missing.

    With `levels` also the vectors below z that a fusion such as `hierarchical` makes: of each modality, and of each of
    its segments, in which parts of clips can be searched for.
    """
    spec = model.spec
    if unknown := sorted(set(hidden) - set(spec.features)):
        raise ConfigError(f"cannot hide {unknown}: the model reads {list(spec.features)}")
    was_training = model.training
    model.eval()
    starts = range(0, max(len(rows), 1), batch_clips)
    try:
        with on_threads(threads):
            parts = [_infer_batch(model, source, rows[start : start + batch_clips], hidden, levels) for start in starts]
    finally:
        model.train(was_training)
    return Inferred(
        answers_N=_joined([part.answers_N for part in parts]),
        z_ND=_joined([part.z_ND for part in parts]),
        also_N={name: _joined([part.also_N[name] for part in parts]) for name in parts[0].also_N},
        per_modality_NK={name: _joined([p.per_modality_NK[name] for p in parts]) for name in parts[0].per_modality_NK},
        weights_N={name: _joined([part.weights_N[name] for part in parts]) for name in parts[0].weights_N},
        levels_N={name: _joined([part.levels_N[name] for part in parts]) for name in parts[0].levels_N},
    )


def embed_feature(
    model: FusionModel, source: ClipSource, rows: np.ndarray, feature: str, batch_clips: int = 64, threads: int = 1
) -> np.ndarray:
    """Return what a network makes of one feature alone, [N, W]: in the goal's own space, zeros where it is missing."""
    parts = []
    with on_threads(threads), torch.no_grad():
        for start in range(0, len(rows), batch_clips):
            found = tensors_of(source.gather(rows[start : start + batch_clips]), (feature,))
            parts.append(model.embed(feature, *found[feature]).numpy())
    return np.concatenate(parts)


def _infer_batch(
    model: FusionModel, source: ClipSource, rows: np.ndarray, hidden: Collection[str], levels: bool
) -> Inferred:
    features = {
        name: (x_BTD, mask_BT & (name not in hidden))
        for name, (x_BTD, mask_BT) in tensors_of(source.gather(rows), model.spec.features).items()
    }
    with torch.no_grad():
        out = model(features)
    return Inferred(
        answers_N=model.answers(out).numpy(),
        z_ND=out.z_BD.numpy(),
        also_N={name: answer.numpy() for name, answer in model.joint.told(out).items()} if model.joint else {},
        per_modality_NK={name: logits_BK.softmax(1).numpy() for name, logits_BK in out.per_modality.items()}
        if model.spec.goal is Goal.CLASSIFY
        else {},
        weights_N={name: share_B.numpy() for name, share_B in out.weights.items()},
        levels_N={name: x.numpy() for name, x in out.levels.items()} if levels else {},
    )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    if len({part.shape[1:] for part in parts}) > 1:  # sequences of different lengths; -1 is behind the end
        longest = max(part.shape[1] for part in parts)
        parts = [np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=-1) for part in parts]
    joined = np.concatenate(parts)
    return joined.astype(np.float32, copy=False) if joined.dtype.kind == "f" else joined
