"""Small random models as transformers saves them, with the settings of a processor beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.weights.loading import quiet_transformers

SIDE_PX = 32
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.3, 0.2)
_TRUNK = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
_EYE = {**_TRUNK, "image_size": SIDE_PX, "patch_size": 8}
_WORDS = {**_TRUNK, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2}
SETTINGS = {"size": {"height": SIDE_PX, "width": SIDE_PX}, "image_mean": MEAN, "image_std": STD}
NAMES = ("clip", "siglip", "vit", "dinov2", "resnet", "convnext", "videomae")


def make_model(name: str, seed: int = 0) -> Any:
    """Return a small network of transformers with random weights."""
    import torch

    with quiet_transformers():
        import transformers as hf

        torch.manual_seed(seed)
        return hf.AutoModel.from_config(_configs(hf)[name]()).eval()


def _configs(hf: Any) -> Mapping[str, Callable[[], Any]]:
    return {
        "clip": lambda: hf.CLIPConfig(text_config=_WORDS, vision_config=_EYE, projection_dim=24),
        "siglip": lambda: hf.SiglipConfig(text_config=_WORDS, vision_config=_EYE),
        "vit": lambda: hf.ViTConfig(**_EYE),
        "dinov2": lambda: hf.Dinov2Config(**{key: value for key, value in _EYE.items() if key != "intermediate_size"}),
        "resnet": lambda: hf.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1]),
        "convnext": lambda: hf.ConvNextConfig(hidden_sizes=[16, 24, 32, 40], depths=[1, 1, 1, 1]),
        "videomae": lambda: hf.VideoMAEConfig(**_EYE, num_frames=4, tubelet_size=2),
    }


def save_model(folder: Path, name: str, seed: int = 0, settings: Mapping[str, Any] | None = None) -> Path:
    """Save such a network with a processor's settings; return its folder."""
    make_model(name, seed).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings or SETTINGS))
    return folder


def pixels_of(pictures: np.ndarray) -> Any:
    """Return what transformers' own processor makes of uint8 [..., H, W, 3]: normalised [..., 3, H, W]."""
    import torch

    scaled = (pictures.astype(np.float64) / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(np.moveaxis(scaled, -1, -3).astype(np.float32).copy())


def random_pictures(*shape: int, seed: int = 0) -> np.ndarray:
    """Return uint8 [*shape, H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, SIDE_PX, SIDE_PX, 3), np.uint8)
