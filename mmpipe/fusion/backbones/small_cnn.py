"""A small convolutional network for small pictures: what can be learnt from a few thousand of them."""

from __future__ import annotations

from torch import Tensor, nn

_WIDTHS = (32, 64, 128)


class SmallCnn(nn.Module):
    """Three times (3x3 convolution, GELU, halving); the mean over places. [P, 3, H, W] -> [P, 128]; from 8 x 8 on."""

    dim = _WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for out in _WIDTHS:
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.GELU(), nn.MaxPool2d(2)]
            width = out
        self.features = nn.Sequential(*layers)

    def forward(self, pixels_PCHW: Tensor) -> Tensor:
        """Look at pictures."""
        features_PCHW: Tensor = self.features(pixels_PCHW)
        return features_PCHW.mean((2, 3))
