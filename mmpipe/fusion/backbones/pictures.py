"""Stored pixels as pictures that a convolutional network reads."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmpipe.errors import ConfigError
from mmpipe.fusion.backbones.base import Backbone

# Of ImageNet, as every pretrained VGG and ResNet expects them.
MEAN_RGB, DEVIATION_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PictureBackbone(Backbone):
    """Apply a network of [P, 3, H, W] -> [P, dim] to every stored picture."""

    mean_C: Tensor
    deviation_C: Tensor

    def __init__(self, network: nn.Module, dim: int, shape_HWC: tuple[int, int, int]) -> None:
        super().__init__()
        self.network, self.dim, self.shape_HWC = network, dim, shape_HWC
        self.register_buffer("mean_C", torch.tensor(MEAN_RGB)[:, None, None], persistent=False)
        self.register_buffer("deviation_C", torch.tensor(DEVIATION_RGB)[:, None, None], persistent=False)

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Tensor:
        """Look at each picture alone."""
        pictures_PHWC = x_BSK.reshape(-1, *self.shape_HWC)
        pixels_PCHW = pictures_PHWC.permute(0, 3, 1, 2).expand(-1, 3, -1, -1) / 255
        features_PF = self.network((pixels_PCHW - self.mean_C) / self.deviation_C)
        return features_PF.reshape(*x_BSK.shape[:2], self.dim)


def picture_shape(dim: int, told: tuple[int, int, int] | None, feature: str) -> tuple[int, int, int]:
    """Return the height, width and colours of stored rows: as told, or those of a square; raise ConfigError."""
    if told is not None:
        if math.prod(told) != dim or told[2] not in (1, 3):
            raise ConfigError(
                f"{feature} has {dim} numbers a picture, and picture_shape = {list(told)} says {math.prod(told)}: "
                "it is [height, width, 3], or 1 for gray"
            )
        return told
    for colours in (3, 1):
        side = math.isqrt(dim // colours)
        if colours * side * side == dim:
            return side, side, colours
    raise ConfigError(f"{feature} has {dim} numbers a picture, no square: set picture_shape = [height, width, colours]")
