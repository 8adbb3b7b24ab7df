"""`audio-mfccseg`: one vector per clip from cepstra, for short sounds such as words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from mmpipe.features import dsp
from mmpipe.features.audio_logmel import LogMelParams
from mmpipe.features.extractor import expect_audio
from mmpipe.types import AudioClip, AudioNeeds, ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality

_NUM_CEPSTRA = 20
_NUM_ORDERED = 13  # the first of them that are also averaged over ordered segments
_NUM_SEGMENTS = 5


class MfccSegParams(LogMelParams):
    """How sound becomes cepstra."""

    num_mels: int = Field(64, ge=_NUM_CEPSTRA, le=128, description="mel bands, from 0 Hz to half the rate")


class AudioMfccSeg:
    """20 cepstra: means, deviations; the same of their slopes; then the means of 13 over 5 ordered segments: [145]."""

    name = "audio-mfccseg"
    version = 1
    modality = Modality.AUDIO
    weights_sha256 = ""
    Params = MfccSegParams

    def __init__(self, params: MfccSegParams) -> None:
        self.params = params
        self.needs = AudioNeeds(sample_rate_hz=params.sample_rate_hz)
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.VECTOR,
            dim=4 * _NUM_CEPSTRA + _NUM_ORDERED * _NUM_SEGMENTS,
            description="cepstra: mean, std, slope mean, slope std (20 each), means of 13 over 5 ordered segments",
        )
        self._bands_MF = params.bands()

    def setup(self, device: str) -> None:
        """Load nothing: there are no weights."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a vector per clip; a clip shorter than a window is padded with silence."""
        return [self._describe(expect_audio(media, self.needs, self.name)) for media in batch]

    def _describe(self, clip: AudioClip) -> FeatureValue:
        frames_TN = dsp.frame_wave(clip.wave_N, self.params.window, self.params.hop)
        log_mel_TM = dsp.log_mel(frames_TN, self._bands_MF, self.params.floor)
        cepstra_TK = dsp.cepstra(log_mel_TM, _NUM_CEPSTRA)
        slopes_TK = dsp.slopes(cepstra_TK)
        segments = dsp.segment_means(cepstra_TK[:, :_NUM_ORDERED], _NUM_SEGMENTS)
        summary = [moment for x_TK in (cepstra_TK, slopes_TK) for moment in (x_TK.mean(axis=0), x_TK.std(axis=0))]
        return FeatureValue(array=np.concatenate([*summary, segments.ravel()]).astype(np.float32))
