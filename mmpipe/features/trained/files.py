"""A trained encoder as files: `config.json` and `model.safetensors`, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from mmpipe.errors import ConfigError, StoreError
from mmpipe.features.trained.spec import AUDIO_SPEECH2VEC, TEXT_LSTM, EncoderSpec, spec_from_json
from mmpipe.features.trained.speech2vec import Speech2Vec
from mmpipe.features.trained.text_lstm import TextLstm
from mmpipe.io import canonical_json

CONFIG_NAME, WEIGHTS_NAME = "config.json", "model.safetensors"
_NETWORKS: Mapping[str, Callable[[EncoderSpec], TextLstm | Speech2Vec]] = {
    TEXT_LSTM: TextLstm,
    AUDIO_SPEECH2VEC: Speech2Vec,
}


def make_encoder(spec: EncoderSpec, seed: int) -> TextLstm | Speech2Vec:
    """Return a network with weights drawn from a seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _NETWORKS[spec.kind](spec)


def encoder_files(network: TextLstm | Speech2Vec) -> dict[str, bytes]:
    """Return the content of the files by name."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    return {
        CONFIG_NAME: canonical_json(network.spec.to_json()),
        WEIGHTS_NAME: safetensors.torch.save(tensors, metadata={"format": "pt"}),
    }


def load_encoder(folder: Path) -> TextLstm | Speech2Vec:
    """Read a folder's encoder, ready to embed. Raise ConfigError or StoreError."""
    try:
        table = json.loads((folder / CONFIG_NAME).read_bytes())
        data = (folder / WEIGHTS_NAME).read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"no encoder in {folder}: {error.filename} is missing") from error
    network = make_encoder(spec_from_json(table), seed=0)
    try:
        network.load_state_dict(safetensors.torch.load(data))
    except (SafetensorError, RuntimeError) as error:
        raise StoreError(f"{folder / WEIGHTS_NAME} does not fit {CONFIG_NAME}: {error}") from error
    return network.eval()
