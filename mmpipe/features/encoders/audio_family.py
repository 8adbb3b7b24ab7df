"""What `audio-hf` asks of a family of audio models: how waves are cut, prepared and heard, and where frames lie.

Axes: N samples, B windows, T frames, M mel bands, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.weights.folder import ModelFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The frames of a window that stand for sound: the middle of the first in half samples, and samples to the next."""

    count: int
    first_halves: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What is true of a family's inputs and outputs."""

    sample_rate_hz: int
    window: int  # most samples of one input: longer clips are cut
    least: int  # samples; shorter windows are filled up with silence
    dim: int
    pools: tuple[str, ...]  # what `pool` may be
    fixed: bool = False  # every input is as long as a window, whatever the sound
    alike_only: bool = False  # inputs of one batch must be of one length: the network has no mask


class AudioFamily(Protocol):
    """One way to hear. `load` comes before `prepare` and `run`."""

    hearing: Hearing
    network: Any  # torch's, once it is loaded

    def load(self, on: TorchDevice) -> None:
        """Load the network, and what prepares its inputs."""

    def prepare(self, wave_N: np.ndarray) -> np.ndarray:
        """Return the input for one window, float32, as the model's own feature extractor makes it."""

    def frames(self, num_samples: int) -> Frames:
        """Return which frames of the output stand for so many samples."""

    def run(self, inputs: Sequence[np.ndarray], layer: int | None, *, pooled: bool) -> Any:
        """Return [B, T, W]; with `pooled`, where the model has a pooling of its own, [B, W]."""


def feature_settings(model: ModelFolder, table: str) -> dict[str, Any]:
    """Return what a model notes about its feature extractor; raise ConfigError where it notes nothing."""
    alone = model.read_json("preprocessor_config.json")
    found: dict[str, Any] = alone or model.read_json("processor_config.json").get("feature_extractor", {})
    if not found:
        raise ConfigError(
            f"{table}.model = {model.name!r} has no preprocessor_config.json: without it nothing says how the model "
            "hears. Save it with the feature extractor's save_pretrained."
        )
    return found


def refuse_window(model: ModelFolder, window_s: float | None, table: str) -> None:
    """Refuse a window of its own for a model that was made for one length."""
    if window_s is not None:
        raise ConfigError(
            f"{table}.window_s = {window_s}: {model.name!r} hears windows of one length. Leave window_s out."
        )


def chosen(found: Any, layer: int | None) -> Any:
    """Return the layer of a network's output that is asked for; None: the output itself."""
    return found.last_hidden_state if layer is None else found.hidden_states[layer]
