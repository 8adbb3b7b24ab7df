"""An extractor that uses a device: a small random network over the sound of a clip; some sounds end its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mmpipe.config import Table
from mmpipe.errors import SampleError
from mmpipe.features.extractor import MicroBatch, expect_audio
from mmpipe.types import AudioNeeds, ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality

RATE_HZ = 8_000
SAMPLES = 4_000
ENTRY_POINT = "[mmpipe.extractors]\naudio-net = device_extractor:AudioNet\n"
LOUD, ODD = 0.9, 0.6  # peaks: from here on a clip kills, or is refused


class AudioNetParams(Table):
    """What the network is drawn from, and a file that keeps who computed."""

    seed: int = 0
    journal: str = Field("", exclude=True)  # not in the fingerprint


class AudioNet:
    """A vector of a clip's sound, computed for several clips at once."""

    name = "audio-net"
    version = 1
    modality = Modality.AUDIO
    weights_sha256 = ""
    uses_device = True
    micro_batch = MicroBatch(max_clips=4)
    Params = AudioNetParams

    def __init__(self, params: AudioNetParams) -> None:
        self.params = params
        self.needs = AudioNeeds(sample_rate_hz=RATE_HZ)
        self.schema = FeatureSchema(
            feature="audio-net@1", modality=Modality.AUDIO, kind=FeatureKind.VECTOR, dim=24, description="a projection"
        )
        self.units = (0, 0)
        self._network: Any = None

    def setup(self, device: str) -> None:
        """Draw the network."""
        rng = np.random.default_rng(self.params.seed)
        weights = [rng.normal(size=size).astype(np.float32) for size in ((SAMPLES, 64), (64, 24))]
        self._note()
        # Not by BLAS: its sums depend on the number of threads.
        self._network = lambda x_BN: np.einsum(
            "bn,nd->bd", np.tanh(np.einsum("bn,nd->bd", x_BN, weights[0])), weights[1]
        )

    def _note(self) -> None:
        if self.params.journal:
            with open(self.params.journal, "a") as file:
                file.write(f"{os.getpid()}\n")

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return the projections, or do what the loudest asks for."""
        waves = [np.resize(expect_audio(media, self.needs, self.name).wave_N, SAMPLES) for media in batch]
        peak = max(float(np.abs(wave_N).max()) for wave_N in waves)
        if peak > LOUD:
            os.kill(os.getpid(), signal.SIGKILL)
        if peak > ODD:
            raise SampleError("too_loud", "this clip is too loud")
        self.units = (self.units[0] + len(batch), self.units[1])
        return [FeatureValue(array=found_D) for found_D in self._network(np.stack(waves))]


def install(folder: Path) -> Path:
    """Write what makes the extractor that of an installed package, once the folder is on the path."""
    about = folder / "device_extractor-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: device-extractor\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINT)
    return folder
