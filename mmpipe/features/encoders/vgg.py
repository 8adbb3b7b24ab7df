"""VGG16 in plain torch, with the names of torchvision; timm's names are read too.

Simonyan and Zisserman 2014, configuration D: thirteen 3x3 convolutions in five stages, two hidden layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from mmpipe.features.encoders.backbone import Forward
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.weights.tensors import Shapes

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (width, convolutions)
_HIDDEN, _GRID = 4096, 7
DIMS = {"model": _HIDDEN, "mean": 512, "none": 512}


def vgg16_shapes(pool: str) -> Shapes:
    """Return the weights that are used, by torchvision's names; the hidden layers only where their output is kept."""
    shapes: dict[str, tuple[int, ...]] = {}
    width = 3
    for number, out in zip(_convolutions(), [out for out, count in _STAGES for _ in range(count)], strict=True):
        shapes[f"features.{number}.weight"], shapes[f"features.{number}.bias"] = (out, width, 3, 3), (out,)
        width = out
    if pool == "model":
        for number, into in ((0, width * _GRID**2), (3, _HIDDEN)):
            shapes[f"classifier.{number}.weight"] = (_HIDDEN, into)
            shapes[f"classifier.{number}.bias"] = (_HIDDEN,)
    return shapes


def vgg16_names(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors under torchvision's names; timm has the hidden layers as convolutions."""
    named = {}
    for key, tensor in found.items():
        hidden = re.fullmatch(r"pre_logits\.fc([12])\.(weight|bias)", key)
        name = f"classifier.{0 if hidden[1] == '1' else 3}.{hidden[2]}" if hidden else key
        named[name] = tensor.reshape(len(tensor), -1) if hidden and hidden[2] == "weight" else tensor
    return named


def vgg16(weights: Mapping[str, np.ndarray], device: TorchDevice, pool: str) -> Forward:
    """Return the network on a device: [B, 4096] of the second hidden layer, [B, 512] of the mean, or [B, L, 512]."""
    here = {name: device.upload(tensor).to(device.torch_dtype) for name, tensor in weights.items()}
    return partial(_forward, here, pool)


def _forward(weights: Mapping[str, Any], pool: str, pixels: Any) -> Any:
    from torch.nn import functional

    x_BCHW, numbers = pixels, iter(_convolutions())
    for _, count in _STAGES:
        for _ in range(count):
            name = f"features.{next(numbers)}"
            x_BCHW = functional.relu(
                functional.conv2d(x_BCHW, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
            )
        x_BCHW = functional.max_pool2d(x_BCHW, 2)
    if pool == "none":
        return x_BCHW.flatten(2).transpose(1, 2)
    if pool == "mean":
        return x_BCHW.mean((2, 3))
    x_BD = functional.adaptive_avg_pool2d(x_BCHW, _GRID).flatten(1)
    for name in ("classifier.0", "classifier.3"):
        x_BD = functional.relu(functional.linear(x_BD, weights[f"{name}.weight"], weights[f"{name}.bias"]))
    return x_BD


def _convolutions() -> list[int]:
    """Return the numbers that torchvision gives to the convolutions: each has a ReLU after it, each stage a pool."""
    numbers, number = [], 0
    for _, count in _STAGES:
        numbers += [number + 2 * place for place in range(count)]
        number += 2 * count + 1
    return numbers
