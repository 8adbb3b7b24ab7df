"""A trained network as files, and its answers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mmpipe import io
from mmpipe.errors import ConfigError, StoreError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.data import ClipSource, tensors_of
from mmpipe.train.deterministic import on_threads

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
MODEL_TYPE = "mmpipe-fusion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Row n speaks of row n that was asked for; all float32."""

    probabilities_NK: np.ndarray
    z_ND: np.ndarray  # joint embedding
    per_modality_NK: Mapping[str, np.ndarray]  # probabilities from one modality alone; empty for a single input
    weights_N: Mapping[str, np.ndarray]  # the share that the fusion gave each modality; empty where it gives none


def save_model(model: FusionModel, directory: Path) -> None:
    """Write `model.safetensors` (with the fitted preprocessing) and `config.json` as new files of a folder."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    classes = model.spec.classes
    config = {
        "architectures": [type(model).__name__],
        "model_type": MODEL_TYPE,
        "id2label": {str(number): name for number, name in enumerate(classes)},
        "label2id": {name: number for number, name in enumerate(classes)},
        "spec": model.spec.to_json(),
    }
    io.make_directory(directory)
    io.write_durable(directory / WEIGHTS_NAME, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    io.write_durable(directory / CONFIG_NAME, io.canonical_json(config))
    io.sync_directory(directory)


def load_model(directory: Path) -> FusionModel:
    """Read what `save_model` wrote, ready to predict. Raise ConfigError or StoreError."""
    try:
        config = json.loads((directory / CONFIG_NAME).read_bytes())
        data = (directory / WEIGHTS_NAME).read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"no model in {directory}: {error.filename} is missing") from error
    except ValueError as error:
        raise StoreError(f"{directory / CONFIG_NAME} is not JSON: {error}") from error
    if not isinstance(config, dict) or config.get("model_type") != MODEL_TYPE:
        raise ConfigError(f"{directory / CONFIG_NAME} does not describe a model of type {MODEL_TYPE!r}")
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, then overwritten
        model = FusionModel(ModelSpec.from_json(config["spec"]))
    try:
        model.load_state_dict(safetensors.torch.load(data))
    except (SafetensorError, RuntimeError) as error:
        raise StoreError(f"{directory / WEIGHTS_NAME} does not fit {CONFIG_NAME}: {error}") from error
    return model.eval()


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
