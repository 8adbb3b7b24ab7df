"""VGG16 to train (Simonyan and Zisserman 2014, configuration D), with torchvision's names of its weights."""

from __future__ import annotations

from torch import Tensor, nn

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (width, convolutions)


class Vgg16(nn.Module):
    """The thirteen convolutions; the mean over places stands for the picture. [P, 3, H, W] -> [P, 512].

    Pictures of any size from 32 x 32 on. The hidden layers of the original, nine tenths of its weights, are left out:
    the encoder that follows takes their place.
    """

    dim = 512

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for out, count in _STAGES:
            for _ in range(count):
                convolution = nn.Conv2d(width, out, 3, padding=1)
                nn.init.kaiming_normal_(
                    convolution.weight, nonlinearity="relu"
                )  # He et al. 2015: else it hardly learns
                layers += [convolution, nn.ReLU()]
                width = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, pixels_PCHW: Tensor) -> Tensor:
        """Look at pictures."""
        features_PCHW: Tensor = self.features(pixels_PCHW)
        return features_PCHW.mean((2, 3))
