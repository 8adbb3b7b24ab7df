"""wav2vec2 and its kin: the wave itself, layers of convolutions, then attention over frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmpipe.features.encoders.audio_family import Frames, Hearing, chosen, feature_settings
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.loading import load_transformers

TYPES = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
_WINDOW_S = 30.0  # attention over all pairs of frames: an hour in one piece would fit into no memory


class WaveFamily:
    """A model that hears waves of any length up to a window."""

    def __init__(self, model: ModelFolder, window_s: float | None, table: str) -> None:
        config, settings = model.read_json("config.json"), feature_settings(model, table)
        self._model, self._table = model, table
        self._kernels, self._strides = tuple(config["conv_kernel"]), tuple(config["conv_stride"])
        self._normalises = bool(settings.get("do_normalize", True))
        rate_hz = int(settings.get("sampling_rate", 16_000))
        usual_norm = "layer" if config["model_type"] == "data2vec-audio" else "group"
        self.hearing = Hearing(
            sample_rate_hz=rate_hz,
            window=round((window_s or _WINDOW_S) * rate_hz),
            least=self._heard(),
            dim=int(config["hidden_size"]),
            pools=("mean", "none"),
            # A norm over all of a wave's frames, as wav2vec2-base has it, would hear padding too.
            alike_only=config.get("feat_extract_norm", usual_norm) == "group",
        )

    def load(self, on: TorchDevice) -> None:
        """Load the network."""
        self._on = on
        self.network = load_transformers(self._model, "AutoModel", on.torch_dtype, on.name, self._table)

    def prepare(self, wave_N: np.ndarray) -> np.ndarray:
        """Return the wave, at mean 0 and variance 1 where the model wants it (as Wav2Vec2FeatureExtractor does)."""
        if self._normalises:
            wave_N = (wave_N - wave_N.mean()) / np.sqrt(wave_N.var() + 1e-7)
        return wave_N.astype(np.float32, copy=False)

    def frames(self, num_samples: int) -> Frames:
        """Return the frames that fit into a wave; none hears beyond its end."""
        count = num_samples
        for kernel, stride in zip(self._kernels, self._strides, strict=True):
            count = (count - kernel) // stride + 1
        return Frames(count=count, first_halves=self._heard(), step=int(np.prod(self._strides)))

    def run(self, inputs: Sequence[np.ndarray], layer: int | None, *, pooled: bool) -> Any:
        """Return [B, T, W]; behind a shorter wave's own frames stands nothing of meaning."""
        lengths_B = np.array([len(wave) for wave in inputs])
        mask_BN = np.arange(lengths_B.max()) < lengths_B[:, None]
        waves_BN = np.zeros(mask_BN.shape, np.float32)
        waves_BN[mask_BN] = np.concatenate(inputs)
        masks = {} if mask_BN.all() else {"attention_mask": self._on.upload(mask_BN.astype(np.int64))}
        given = self._on.upload(waves_BN).to(self._on.torch_dtype)
        return chosen(self.network(given, **masks, output_hidden_states=layer is not None), layer)

    def _heard(self) -> int:
        """Return the samples that one frame hears."""
        heard, step = 1, 1
        for kernel, stride in zip(self._kernels, self._strides, strict=True):
            heard += (kernel - 1) * step
            step *= stride
        return heard
