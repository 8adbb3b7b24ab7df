"""A network that reads pictures, as extractors see it: its facts are known before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.pictures import PictureInput

Pool = Literal["model", "cls", "mean", "none"]
# From normalised pictures [B, C, H, W] (clips: [B, T, C, H, W]) to [B, D], or to [B, L, D] with tokens.
Forward = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """What is known of a network, and how it is loaded."""

    about: str  # its name and what comes out, for cards
    sha256: str  # of its weights
    dim: int
    tokens: bool  # False: one vector per picture or clip; True: a sequence of them
    picture: PictureInput
    load: Callable[[TorchDevice], Forward]
    clip_frames: int = 0  # so many frames are read together; 0: each picture for itself


def network_behind(forward: Forward) -> Any:
    """Return torch's network that a `partial` hands to its function; None where that is written out in plain torch."""
    import torch

    return next((part for part in getattr(forward, "args", ()) if isinstance(part, torch.nn.Module)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRun:
    """A loaded network, ready for pictures."""

    device: TorchDevice
    forward: Forward
    picture: PictureInput

    def start(self, bytes_BHWC: Any) -> Callable[[], Any]:
        """Send pictures, an array or a tensor on the device, through the network; return what waits for the values.

        They are float32 [B, D] or [B, L, D].
        """
        with self.device.computing():
            here = self.device.upload(bytes_BHWC) if isinstance(bytes_BHWC, np.ndarray) else bytes_BHWC
            return self.device.download(self.forward(self.picture.normalise(here, self.device.torch_dtype)))
