"""`audio-contrast`: how far the peaks of a spectrum stand above its valleys, in octave bands."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from mmpipe import (
    AudioClip,
    AudioNeeds,
    ClipMedia,
    FeatureKind,
    FeatureSchema,
    FeatureValue,
    Modality,
    Table,
    expect_audio,
)

_FLOOR = 1e-10  # power below which all is silence


class AudioContrastParams(Table):
    """Which bands are compared, and over what time."""

    sample_rate_hz: int = Field(16_000, ge=4_000, le=48_000, description="rate to which the sound is resampled")
    window: int = Field(1024, ge=128, le=16_384, description="samples of an analysis window; half of it is the hop")
    lowest_hz: float = Field(200.0, gt=0, le=2_000, description="upper end of the lowest band; the next are octaves")
    bands: int = Field(6, ge=1, le=10, description="how many bands")
    share: float = Field(0.2, gt=0, le=0.5, description="share of a band's bins that are its peaks, and its valleys")

    @model_validator(mode="after")
    def _no_band_is_empty(self) -> Self:
        if self.lowest_hz * 2 ** (self.bands - 1) > self.sample_rate_hz / 2:
            raise ValueError(
                "the highest band lies above half of sample_rate_hz: take fewer bands or a lower lowest_hz"
            )
        if any(stop - start < 2 for start, stop in self.ranges()):
            raise ValueError("a band holds less than two frequencies: take a longer window or a higher lowest_hz")
        return self

    def ranges(self) -> list[tuple[int, int]]:
        """Return the bins of each band of the spectrum: from the first, to before the last."""
        edges_hz = [0.0, *(self.lowest_hz * 2**number for number in range(self.bands))]
        bins = [round(edge_hz * self.window / self.sample_rate_hz) for edge_hz in edges_hz]
        return list(pairwise(bins))


class AudioContrast:
    """Contrast and peak of each band in dB, means over the clip: [2 * bands]."""

    name = "audio-contrast"
    version = 1
    modality = Modality.AUDIO
    weights_sha256 = ""
    Params = AudioContrastParams

    def __init__(self, params: AudioContrastParams) -> None:
        self.params = params
        self.needs = AudioNeeds(sample_rate_hz=params.sample_rate_hz)
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.VECTOR,
            dim=2 * params.bands,
            description="spectral contrast of octave bands in dB, lowest first, then their peaks in dB",
        )

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a vector per clip."""
        return [self._describe(expect_audio(media, self.needs, self.name)) for media in batch]

    def _describe(self, clip: AudioClip) -> FeatureValue:
        power_TF = _spectra(clip.wave_N.astype(np.float64), self.params.window)
        found = [_contrast(power_TF[:, start:stop], self.params.share) for start, stop in self.params.ranges()]
        contrasts, peaks = zip(*found, strict=True)
        return FeatureValue(array=np.array([*contrasts, *peaks], np.float32))


def _spectra(wave_N: np.ndarray, window: int) -> np.ndarray:
    """Return the power of half-overlapping windows, [T, F]; a short clip is filled up with silence."""
    hop = window // 2
    padded_N = np.pad(wave_N, (0, max(0, window - len(wave_N))))
    frames_TN = np.lib.stride_tricks.sliding_window_view(padded_N, window)[::hop]
    return np.square(np.abs(np.fft.rfft(frames_TN * np.hanning(window)))) / window


def _contrast(power_TF: np.ndarray, share: float) -> tuple[float, float]:
    """Return how far the strongest bins of a band are above the weakest, and how strong they are, in dB."""
    sorted_TF = np.sort(power_TF, axis=1)
    count = max(1, round(share * sorted_TF.shape[1]))
    valley_T, peak_T = sorted_TF[:, :count].mean(1), sorted_TF[:, -count:].mean(1)
    valley_dB, peak_dB = (10 * np.log10(power_T + _FLOOR).mean() for power_T in (valley_T, peak_T))
    return float(peak_dB - valley_dB), float(peak_dB)
