"""ResNet50 to train (He et al. 2015, variant 1.5), with torchvision's names of its weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # (width, blocks)
_WIDEN, _STEM = 4, 64


class ResNet50(nn.Module):
    """Fifty layers; the mean over places stands for the picture. [P, 3, H, W] -> [P, 2048]."""

    dim = 2048

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, _STEM, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(_STEM)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        into = _STEM
        for number, (width, blocks) in enumerate(_STAGES, 1):
            stage = nn.Sequential()
            for block in range(blocks):
                stage.append(_Bottleneck(into, width, stride=2 if number > 1 and not block else 1))
                into = width * _WIDEN
            self.add_module(f"layer{number}", stage)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Bottleneck):
                nn.init.zeros_(module.bn3.weight)  # each branch starts silent (Goyal et al. 2017)

    def forward(self, pixels_PCHW: Tensor) -> Tensor:
        """Look at pictures."""
        x_PCHW = self.pool(relu(self.bn1(self.conv1(pixels_PCHW))))
        for number in range(1, len(_STAGES) + 1):
            x_PCHW = self.get_submodule(f"layer{number}")(x_PCHW)
        features_PF: Tensor = x_PCHW.mean((2, 3))
        return features_PF


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a normalisation each, beside a shortcut."""

    def __init__(self, into: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * _WIDEN
        self.conv1, self.bn1 = nn.Conv2d(into, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or into != out:
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x_PCHW: Tensor) -> Tensor:
        """Add the branch to the shortcut."""
        inner = relu(self.bn1(self.conv1(x_PCHW)))
        inner = relu(self.bn2(self.conv2(inner)))
        return relu(self.bn3(self.conv3(inner)) + self.downsample(x_PCHW))
