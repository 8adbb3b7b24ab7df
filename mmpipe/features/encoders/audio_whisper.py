"""The encoder of Whisper: mel bands of a window of fixed length, filled up with silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.audio_family import Frames, Hearing, chosen, feature_settings
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.loading import load_transformers, quiet_transformers

TYPES = ("whisper",)
_STRIDE = 2  # mel windows per position


class WhisperFamily:
    """Windows of 30 s, or shorter ones: a short utterance pays for all of its window."""

    def __init__(self, model: ModelFolder, window_s: float | None, table: str) -> None:
        config, self._settings = model.read_json("config.json"), feature_settings(model, table)
        self._model, self._table = model, table
        rate_hz = int(self._settings.get("sampling_rate", 16_000))
        self._step = _STRIDE * int(self._settings.get("hop_length", 160))
        self._own = int(config["max_source_positions"])
        self._positions = self._own if window_s is None else round(window_s * rate_hz / self._step)
        if not 1 <= self._positions <= self._own:
            held_s = self._own * self._step / rate_hz
            raise ConfigError(f"{table}.window_s = {window_s}: {model.name!r} has positions for {held_s:g} s")
        self.hearing = Hearing(
            sample_rate_hz=rate_hz,
            window=self._positions * self._step,
            least=1,
            dim=int(config["d_model"]),
            pools=("mean", "none"),
            fixed=True,
        )

    def load(self, on: TorchDevice) -> None:
        """Load the encoder alone; of its positions, which are counted from the start, the first ones are kept."""
        import torch

        encoder = load_transformers(self._model, "WhisperModel", on.torch_dtype, on.name, self._table).get_encoder()
        if self._positions < self._own:
            kept = encoder.embed_positions.weight[: self._positions].detach().clone()
            encoder.embed_positions = torch.nn.Embedding.from_pretrained(kept)
            encoder.config.max_source_positions = encoder.max_source_positions = self._positions
        with quiet_transformers():
            from transformers import WhisperFeatureExtractor

            self._extractor = WhisperFeatureExtractor.from_dict(self._settings)
        self._on, self.network = on, encoder

    def prepare(self, wave_N: np.ndarray) -> np.ndarray:
        """Return log-mel bands [M, 2 * positions] by transformers' own extractor."""
        found = self._extractor(
            wave_N,
            sampling_rate=self.hearing.sample_rate_hz,
            max_length=self.hearing.window,
            padding="max_length",
            return_tensors="np",
        )
        return np.asarray(found["input_features"][0], np.float32)

    def frames(self, num_samples: int) -> Frames:
        """Return the frames that stand for sound: one for two mel windows, which are centred on their first sample."""
        return Frames(count=min(self._positions, -(-num_samples // self._step)), first_halves=0, step=self._step)

    def run(self, inputs: Sequence[np.ndarray], layer: int | None, *, pooled: bool) -> Any:
        """Return [B, positions, W]."""
        given = self._on.upload(np.stack(inputs)).to(self._on.torch_dtype)
        return chosen(self.network(given, output_hidden_states=layer is not None), layer)
