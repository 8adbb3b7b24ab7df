"""`audio-logmel`: the log-mel spectrogram, for models that read sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from scipy import sparse

from mmpipe.config import Table
from mmpipe.features import dsp
from mmpipe.features.extractor import expect_audio
from mmpipe.types import AudioClip, AudioNeeds, ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality


class LogMelParams(Table):
    """How sound becomes a log-mel spectrogram."""

    sample_rate_hz: int = Field(16_000, ge=4_000, le=48_000, description="rate to which the sound is resampled")
    window_s: float = Field(0.025, ge=0.005, le=0.2, description="length of an analysis window in seconds")
    hop_s: float = Field(0.010, ge=0.001, le=0.2, description="from window to window in seconds")
    num_mels: int = Field(64, ge=8, le=128, description="mel bands, from 0 Hz to half the rate")
    floor: float = Field(1e-6, ge=1e-12, le=1.0, description="band energy below which all is silence")

    @model_validator(mode="after")
    def _no_band_is_empty(self) -> Self:
        if (self.bands().sum(axis=1) <= 0).any():
            raise ValueError("a mel band holds no frequency: take fewer num_mels or a longer window_s")
        return self

    @property
    def window(self) -> int:
        """Return the window in samples."""
        return round(self.window_s * self.sample_rate_hz)

    @property
    def hop(self) -> int:
        """Return the hop in samples."""
        return max(1, round(self.hop_s * self.sample_rate_hz))

    def bands(self) -> sparse.csr_array:
        """Return the mel bands, [M, F]."""
        size = dsp.fft_size(self.window)
        return dsp.mel_bands(self.num_mels, size, self.sample_rate_hz, 0.0, self.sample_rate_hz / 2)


class AudioLogMel:
    """Log-mel energies [T, num_mels], natural logarithm; the time of a frame is the centre of its window."""

    name = "audio-logmel"
    version = 1
    modality = Modality.AUDIO
    weights_sha256 = ""
    Params = LogMelParams

    def __init__(self, params: LogMelParams) -> None:
        self.params = params
        self.needs = AudioNeeds(sample_rate_hz=params.sample_rate_hz)
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE,
            dim=params.num_mels,
            description="log-mel energies (natural logarithm, Slaney bands), one row per window",
        )
        self._bands_MF = params.bands()

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a spectrogram per clip."""
        return [self._describe(expect_audio(media, self.needs, self.name)) for media in batch]

    def _describe(self, clip: AudioClip) -> FeatureValue:
        window, hop = self.params.window, self.params.hop
        frames_TN = dsp.frame_wave(clip.wave_N, window, hop)
        array = dsp.log_mel(frames_TN, self._bands_MF, self.params.floor)
        times_ns = dsp.frame_times_ns(len(array), window, hop, self.params.sample_rate_hz, clip.start_ns)
        return FeatureValue(array=array.astype(np.float32), times_ns=times_ns)
