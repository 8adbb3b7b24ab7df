"""`audio-mfcc`: the classic cepstra of speech work with their slopes, one row per window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from mmpipe.features import dsp
from mmpipe.features.audio_logmel import LogMelParams
from mmpipe.features.extractor import expect_audio
from mmpipe.types import AudioClip, AudioNeeds, ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality

_DECIBELS = 10 / np.log(10)  # from natural logarithms of energies
_SLOPE_REACH = 2  # frames on either side, as HTK's DELTAWINDOW


class MfccParams(LogMelParams):
    """How sound becomes cepstra."""

    num_mels: int = Field(40, ge=8, le=128, description="mel bands, from 0 Hz to half the rate")
    floor: float = Field(1e-10, ge=1e-12, le=1.0, description="band energy below which all is silence")
    num_cepstra: int = Field(13, ge=1, le=40, description="coefficients kept, the 0th among them; at most num_mels")
    deltas: int = Field(2, ge=0, le=2, description="0: cepstra alone; 1: with slopes; 2: with slopes of slopes too")

    @model_validator(mode="after")
    def _there_are_so_many(self) -> Self:
        if self.num_cepstra > self.num_mels:
            raise ValueError(f"num_cepstra must be at most num_mels = {self.num_mels}, got {self.num_cepstra}")
        return self


class AudioMfcc:
    """Cepstra [T, num_cepstra * (1 + deltas)]; the time of a frame is the centre of its window.

    c = DCT-II (orthonormal) of 10 log10 max(floor, Slaney's mel energies of the Hann-windowed power spectrum), the
    first `num_cepstra` of it. A slope is sum n (c[t+n] - c[t-n]) / (2 sum n^2), n = 1, 2, the ends repeated. librosa
    gives the same with `center=False`, `norm="slaney"`, `top_db=None`, `dct_type=2`; `delta(width=5, mode="nearest")`.
    """

    name = "audio-mfcc"
    version = 1
    modality = Modality.AUDIO
    weights_sha256 = ""
    Params = MfccParams

    def __init__(self, params: MfccParams) -> None:
        self.params = params
        self.needs = AudioNeeds(sample_rate_hz=params.sample_rate_hz)
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE,
            dim=params.num_cepstra * (1 + params.deltas),
            description=("cepstra (orthonormal DCT-II of mel decibels)", "cepstra, slopes", "cepstra, slopes, theirs")[
                params.deltas
            ],
        )
        self._bands_MF = params.bands()

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return cepstra per clip; a clip shorter than a window is padded with silence."""
        return [self._describe(expect_audio(media, self.needs, self.name)) for media in batch]

    def _describe(self, clip: AudioClip) -> FeatureValue:
        window, hop = self.params.window, self.params.hop
        frames_TN = dsp.frame_wave(clip.wave_N, window, hop)
        decibels_TM = dsp.log_mel(frames_TN, self._bands_MF, self.params.floor) * _DECIBELS
        parts = [dsp.cepstra(decibels_TM, self.params.num_cepstra)]
        for _ in range(self.params.deltas):
            parts.append(dsp.slopes(parts[-1], _SLOPE_REACH))
        times_ns = dsp.frame_times_ns(len(frames_TN), window, hop, self.params.sample_rate_hz, clip.start_ns)
        return FeatureValue(array=np.concatenate(parts, axis=1).astype(np.float32), times_ns=times_ns)
