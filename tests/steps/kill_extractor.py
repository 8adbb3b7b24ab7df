"""An extractor of another package, found by an entry point: a loud tone ends its worker in the way its pitch says."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import numpy as np

from mmpipe.config import Table
from mmpipe.features.extractor import expect_audio
from mmpipe.types import AudioNeeds, ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality

RATE_HZ = 8_000
ACT_OF_HZ = {1_000: "die", 1_300: "hang", 1_600: "swell", 1_900: "raise", 2_200: "leave", 2_500: "misshape"}
ENTRY_POINT = "[mmpipe.extractors]\naudio-touchy = kill_extractor:Touchy\n"


class TouchyParams(Table):
    """No parameters."""


class Touchy:
    """The peak of a clip, where its tone is quiet."""

    name = "audio-touchy"
    version = 1
    modality = Modality.AUDIO
    weights_sha256 = ""
    Params = TouchyParams

    def __init__(self, params: TouchyParams) -> None:
        self.params = params
        self.needs = AudioNeeds(sample_rate_hz=RATE_HZ)
        self.schema = FeatureSchema(
            feature="audio-touchy@1", modality=Modality.AUDIO, kind=FeatureKind.VECTOR, dim=1, description="the peak"
        )

    def setup(self, device: str) -> None:
        """Load nothing."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return the peak, or act."""
        return [self._value(expect_audio(media, self.needs, self.name).wave_N) for media in batch]

    def _value(self, wave_N: np.ndarray) -> FeatureValue:
        peak = float(np.abs(wave_N).max())
        act = act_of(wave_N) if peak > 0.8 else ""
        if act == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif act == "hang":
            time.sleep(600)
        elif act == "swell":
            held = [np.ones(1 << 22) for _ in range(200)]
            time.sleep(600 + len(held))
        elif act == "raise":
            raise ValueError("no such tone")
        elif act == "leave":
            os._exit(0)
        size = 2 if act == "misshape" else 1
        return FeatureValue(array=np.full(size, peak, np.float32))


def act_of(wave_N: np.ndarray) -> str:
    """Return what the loudest pitch asks for."""
    pitch_hz = np.abs(np.fft.rfft(wave_N)).argmax() * RATE_HZ / len(wave_N)
    return ACT_OF_HZ[min(ACT_OF_HZ, key=lambda hz: abs(hz - pitch_hz))]
