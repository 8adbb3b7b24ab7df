"""ResNet50 in plain torch, with the names of torchvision; those of transformers are read too.

He et al. 2015 in the variant that both use (1.5): a stage's stride is in the 3x3 convolution of its first block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from mmpipe.features.encoders.backbone import Forward
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.weights.tensors import Shapes

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # (width, blocks)
_WIDEN, _STEM, _EPSILON = 4, 64, 1e-5
DIMS = {"model": 2048, "mean": 2048, "none": 2048}


def resnet50_shapes(pool: str) -> Shapes:
    """Return the weights that are used, by torchvision's names; they are the same for every pooling."""
    shapes: dict[str, tuple[int, ...]] = {}
    for conv, norm, shape in _layers():
        shapes[f"{conv}.weight"] = shape
        shapes.update({f"{norm}.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")})
    return shapes


def resnet50_names(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors under torchvision's names."""
    return {_torchvision_name(key.removeprefix("resnet.")): tensor for key, tensor in found.items()}


def resnet50(weights: Mapping[str, np.ndarray], device: TorchDevice, pool: str) -> Forward:
    """Return the network on a device: [B, 2048] of the mean over places, or [B, L, 2048] of the places.

    Each normalisation is a factor and a shift that do not depend on the picture: they go into the convolution.
    """
    import torch

    folded = {}
    for conv, norm, _ in _layers():
        factor = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + _EPSILON)
        kernel = weights[f"{conv}.weight"] * factor[:, None, None, None]
        shift = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * factor
        folded[conv] = tuple(
            device.upload(part.astype(np.float32)).to(device.torch_dtype, memory_format=form)
            for part, form in ((kernel, torch.channels_last), (shift, torch.contiguous_format))
        )
    return partial(_forward, folded, pool)


def _forward(folded: Mapping[str, tuple[Any, Any]], pool: str, pixels: Any) -> Any:
    from torch.nn import functional

    def conv(name: str, x_BCHW: Any, stride: int = 1) -> Any:
        kernel, shift = folded[name]
        return functional.conv2d(x_BCHW, kernel, shift, stride=stride, padding=kernel.shape[-1] // 2)

    x_BCHW = functional.max_pool2d(functional.relu(conv("conv1", pixels, 2)), 3, stride=2, padding=1)
    for stage, (_, num_blocks) in enumerate(_STAGES, 1):
        for block in range(num_blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and not block else 1
            inner = functional.relu(conv(f"{name}.conv1", x_BCHW))
            inner = functional.relu(conv(f"{name}.conv2", inner, stride))
            beside = x_BCHW if block else conv(f"{name}.downsample.0", x_BCHW, stride)
            x_BCHW = functional.relu(conv(f"{name}.conv3", inner) + beside)
    return x_BCHW.flatten(2).transpose(1, 2) if pool == "none" else x_BCHW.mean((2, 3))


def _layers() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield the name of each convolution and of its normalisation, and the kernel's shape."""
    yield "conv1", "bn1", (_STEM, 3, 7, 7)
    into = _STEM
    for stage, (width, num_blocks) in enumerate(_STAGES, 1):
        for block in range(num_blocks):
            name, out = f"layer{stage}.{block}", width * _WIDEN
            yield f"{name}.conv1", f"{name}.bn1", (width, into, 1, 1)
            yield f"{name}.conv2", f"{name}.bn2", (width, width, 3, 3)
            yield f"{name}.conv3", f"{name}.bn3", (out, width, 1, 1)
            if not block:
                yield f"{name}.downsample.0", f"{name}.downsample.1", (out, into, 1, 1)
            into = out


def _torchvision_name(key: str) -> str:
    """Return torchvision's name of a tensor of transformers; any other name as it is."""
    parts = {"convolution": "conv", "normalization": "bn"}
    if stem := re.fullmatch(r"embedder\.embedder\.(convolution|normalization)\.(\w+)", key):
        return f"{parts[stem[1]]}1.{stem[2]}"
    block = re.fullmatch(
        r"encoder\.stages\.(\d)\.layers\.(\d)\.(shortcut|layer\.(\d))\.(convolution|normalization)\.(\w+)", key
    )
    if not block:
        return key
    where = f"layer{int(block[1]) + 1}.{block[2]}"
    if block[3] == "shortcut":
        return f"{where}.downsample.{0 if block[5] == 'convolution' else 1}.{block[6]}"
    return f"{where}.{parts[block[5]]}{int(block[4]) + 1}.{block[6]}"
