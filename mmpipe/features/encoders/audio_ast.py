"""The Audio Spectrogram Transformer: patches of Kaldi's mel bands in a window of fixed length."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mmpipe.features.encoders.audio_family import Frames, Hearing, chosen, feature_settings, refuse_window
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.loading import load_transformers, quiet_transformers

TYPES = ("audio-spectrogram-transformer",)
_FRAME, _HOP, _FFT = 400, 160, 512  # samples; Kaldi's 25 ms and 10 ms, which the extractor fixes for 16 kHz
_FLOOR = 1.192092955078125e-07
_PREEMPHASIS = 0.97
_NUM_SUMMARIES = 2  # [CLS] and the distilled one stand before the patches


class AstFamily:
    """Windows of `max_length` mel frames; shorter sound is filled up with zeros in the bands."""

    def __init__(self, model: ModelFolder, window_s: float | None, table: str) -> None:
        config, settings = model.read_json("config.json"), feature_settings(model, table)
        refuse_window(model, window_s, table)
        self._model, self._table = model, table
        self._num_mels = int(settings.get("num_mel_bins", 128))
        self._length = int(settings.get("max_length", 1_024))
        self._mean, self._std = float(settings.get("mean", -4.2677393)), float(settings.get("std", 4.5689974))
        self._normalises = bool(settings.get("do_normalize", True))
        self._patch, self._stride = int(config["patch_size"]), int(config["time_stride"])
        self._rows = (self._num_mels - self._patch) // int(config["frequency_stride"]) + 1
        self.hearing = Hearing(
            sample_rate_hz=int(settings.get("sampling_rate", 16_000)),
            window=_FRAME + (self._length - 1) * _HOP,
            least=_FRAME,
            dim=int(config["hidden_size"]),
            pools=("mean", "model", "none"),
            fixed=True,
        )

    def load(self, on: TorchDevice) -> None:
        """Load the network."""
        self._on = on
        self.network = load_transformers(self._model, "ASTModel", on.torch_dtype, on.name, self._table)

    def prepare(self, wave_N: np.ndarray) -> np.ndarray:
        """Return mel bands [length, M] as ASTFeatureExtractor does where there is no torchaudio.

        With it the numbers would be others, and would depend on what is installed; and its loop over frames is slow.
        """
        frames_TN = np.lib.stride_tricks.sliding_window_view(wave_N.astype(np.float64), _FRAME)[::_HOP]
        frames_TN = frames_TN - frames_TN.mean(axis=1, keepdims=True)
        first_T1 = frames_TN[:, :1] * (1 - _PREEMPHASIS)
        frames_TN = np.concatenate([first_T1, frames_TN[:, 1:] - _PREEMPHASIS * frames_TN[:, :-1]], axis=1)
        hann_N = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / (_FRAME - 1))
        spectrum_TF = np.fft.rfft(frames_TN * hann_N, _FFT, axis=1)
        power_TF = spectrum_TF.real**2 + spectrum_TF.imag**2
        bands_TM = np.log(np.maximum(power_TF @ self._filters_FM, _FLOOR))[: self._length]
        bands_TM = np.pad(bands_TM, ((0, self._length - len(bands_TM)), (0, 0)))
        if self._normalises:
            bands_TM = (bands_TM - self._mean) / (2 * self._std)
        return bands_TM.astype(np.float32)

    def frames(self, num_samples: int) -> Frames:
        """Return the columns of patches that begin within the sound."""
        num_mel_frames = min(self._length, 1 + (num_samples - _FRAME) // _HOP)
        columns = (self._length - self._patch) // self._stride + 1
        heard = (self._patch - 1) * _HOP + _FRAME  # samples of one patch
        return Frames(
            count=min(columns, -(-num_mel_frames // self._stride)), first_halves=heard, step=self._stride * _HOP
        )

    def run(self, inputs: Sequence[np.ndarray], layer: int | None, *, pooled: bool) -> Any:
        """Return [B, T, W], the mean over the bands of each column of patches; or the model's summary, [B, W]."""
        given = self._on.upload(np.stack(inputs)).to(self._on.torch_dtype)
        found = self.network(given, output_hidden_states=layer is not None)
        if pooled:
            return found.pooler_output
        patches_BPW = chosen(found, layer)[:, _NUM_SUMMARIES:]
        return patches_BPW.unflatten(1, (self._rows, -1)).float().mean(1)

    @cached_property
    def _filters_FM(self) -> np.ndarray:
        with quiet_transformers():
            from transformers.audio_utils import mel_filter_bank

            return mel_filter_bank(
                num_frequency_bins=_FFT // 2 + 1,
                num_mel_filters=self._num_mels,
                min_frequency=20,
                max_frequency=self.hearing.sample_rate_hz // 2,
                sampling_rate=self.hearing.sample_rate_hz,
                norm=None,
                mel_scale="kaldi",
                triangularize_in_mel_space=True,
            )
