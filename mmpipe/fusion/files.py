"""A trained network as files: `model.safetensors` and `config.json`, never a pickle."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from mmpipe import io
from mmpipe.errors import ConfigError, StoreError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
MODEL_TYPE = "mmpipe-fusion"


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
