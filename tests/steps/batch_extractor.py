"""Extractors of another package that take several clips at once, and say in a log what they were given."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from kill_extractor import act_of
from pydantic import Field

from mmpipe.config import Table
from mmpipe.errors import SampleError
from mmpipe.features.extractor import MicroBatch, expect_audio, expect_media
from mmpipe.types import (
    AudioNeeds,
    ClipMedia,
    FeatureKind,
    FeatureSchema,
    FeatureValue,
    Modality,
    VideoClip,
    VideoNeeds,
)

RATE_HZ = 8_000
LOG = "MMPIPE_TEST_BATCHES"  # the file that they write to
STOP = "stop"
calls_left: list[str] = []  # where it is not empty: the call that leaves the last one ends the run
ENTRY_POINTS = (
    "[mmpipe.extractors]\naudio-batches = batch_extractor:SoundBatches\nvideo-batches = batch_extractor:FilmBatches\n"
)


class BatchParams(Table):
    """How many clips are wanted at once."""

    max_clips: int = Field(5, ge=1)
    max_bytes: int = Field(0, ge=0)
    rows: int = Field(1, ge=1)  # of a value, each of 64 numbers


class SoundBatches:
    """Numbers that tell which clips were computed together: an extractor must not, and so a test sees it."""

    name = "audio-batches"
    version = 1
    modality = Modality.AUDIO
    weights_sha256 = ""
    Params = BatchParams
    dim = 64

    def __init__(self, params: BatchParams) -> None:
        self.params = params
        self.needs = AudioNeeds(sample_rate_hz=RATE_HZ)
        self.micro_batch = MicroBatch(max_clips=params.max_clips, max_bytes=params.max_bytes)
        self.units = (0, 0)
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}", modality=self.modality, kind=FeatureKind.SEQUENCE, dim=self.dim
        )

    def setup(self, device: str) -> None:
        """Say that it was called."""
        _write({"pid": os.getpid(), "setup": self.name, "device": device})

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return for each clip what it is, how many they were, and who they were."""
        clips = [self._bytes(media) for media in batch]
        sums = [zlib.crc32(data) for data in clips]
        entry = {"pid": os.getpid(), "feature": self.name, "clips": sums, "rss": _resident_bytes()}
        _write(entry | {"bytes": sum(map(len, clips))})
        acts = [self._act(media) for media in batch]
        if "die" in acts:
            os.abort()
        calls_left.pop() if calls_left else None
        if "leave" in acts or calls_left == [STOP]:
            raise MemoryError
        if "raise" in acts:
            raise ValueError("no such tone")
        if "hang" in acts:
            raise SampleError("too_high", "a tone that nobody hears")
        self.units = (self.units[0] + len(batch), self.units[1] + self.micro_batch.max_clips - len(batch))
        together = zlib.crc32(repr(sums).encode()) % 1_000_003
        return [self._value((own, len(batch), together), act) for own, act in zip(sums, acts, strict=True)]

    def _bytes(self, media: ClipMedia) -> bytes:
        return expect_audio(media, self.needs, self.name).wave_N.tobytes()

    def _act(self, media: ClipMedia) -> str:
        wave_N = expect_audio(media, self.needs, self.name).wave_N
        return act_of(wave_N) if np.abs(wave_N).max() > 0.8 else ""

    def _value(self, told: tuple[int, int, int], act: str) -> FeatureValue:
        array = np.zeros((self.params.rows, self.dim), np.float32)
        array[:, :3] = told[0] % 1_000_003, told[1], told[2]
        if act == "swell":
            array[0, 0] = np.nan
        return FeatureValue(array=array, times_ns=np.arange(self.params.rows, dtype=np.int64))


class FilmBatches(SoundBatches):
    """The same of pictures."""

    name = "video-batches"
    modality = Modality.VIDEO

    def __init__(self, params: BatchParams) -> None:
        super().__init__(params)
        self.needs = VideoNeeds(width_px=16, height_px=16, gray=True)

    def _bytes(self, media: ClipMedia) -> bytes:
        return expect_media(media, VideoClip, self.name).frames.tobytes()

    def _act(self, media: ClipMedia) -> str:
        return ""


def install(site: Path) -> None:
    """Let a folder on the path say that the extractors are installed."""
    about = site / "batch_extractor-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: batch-extractor\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)


def read_log(path: Path, feature: str = "") -> list[dict]:
    """Return the calls of `extract`, in the order in which they began."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = [entry for entry in map(json.loads, lines) if "feature" in entry]
    return [entry for entry in found if feature in ("", entry["feature"])]


def read_setups(path: Path) -> list[dict]:
    """Return the calls of `setup`."""
    return [entry for entry in map(json.loads, path.read_text().splitlines()) if "setup" in entry]


def _write(entry: dict) -> None:
    with open(os.environ[LOG], "a") as file:
        file.write(json.dumps(entry) + "\n")


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
