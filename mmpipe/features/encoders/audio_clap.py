"""The audio half of CLAP: mel bands of a window of ten seconds, which a short sound fills again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmpipe.features.encoders.audio_family import Frames, Hearing, feature_settings, refuse_window
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.loading import load_transformers, quiet_transformers

TYPES = ("clap", "clap_audio_model")


class ClapFamily:
    """One embedding per window, in the space that CLAP shares with texts.

    What is longer than a window is cut into several: the model's own way is to draw pieces by chance.
    """

    def __init__(self, model: ModelFolder, window_s: float | None, table: str) -> None:
        config, self._settings = model.read_json("config.json"), feature_settings(model, table)
        refuse_window(model, window_s, table)
        self._model, self._table = model, table
        rate_hz = int(self._settings.get("sampling_rate", 48_000))
        audio = config.get("audio_config", config)
        self.hearing = Hearing(
            sample_rate_hz=rate_hz,
            window=int(self._settings.get("max_length_s", 10)) * rate_hz,
            least=1,
            dim=int(config.get("projection_dim") or audio["projection_dim"]),
            pools=("model",),
            fixed=True,
        )

    def load(self, on: TorchDevice) -> None:
        """Load the network and its feature extractor, which needs no torchaudio."""
        kind = "ClapAudioModelWithProjection"
        self._on, self.network = on, load_transformers(self._model, kind, on.torch_dtype, on.name, self._table)
        with quiet_transformers():
            from transformers import ClapFeatureExtractor

            self._extractor = ClapFeatureExtractor.from_dict(self._settings)

    def prepare(self, wave_N: np.ndarray) -> np.ndarray:
        """Return the mel bands [C, T, M] of one window by transformers' own extractor."""
        found = self._extractor(wave_N, sampling_rate=self.hearing.sample_rate_hz, return_tensors="np")
        return np.asarray(found["input_features"][0], np.float32)

    def frames(self, num_samples: int) -> Frames:
        """Return one frame for all of a window."""
        return Frames(count=1, first_halves=num_samples, step=self.hearing.window)

    def run(self, inputs: Sequence[np.ndarray], layer: int | None, *, pooled: bool) -> Any:
        """Return [B, W]."""
        import torch

        given = self._on.upload(np.stack(inputs)).to(self._on.torch_dtype)
        # What the extractor says of one window alone: those that fuse several pieces take it for a long one.
        fuses = self._extractor.truncation == "fusion"
        is_longer_B1 = torch.full((len(inputs), 1), fuses, device=given.device)
        return self.network(input_features=given, is_longer=is_longer_B1).audio_embeds
