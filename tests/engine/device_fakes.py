"""Encoders for tests of the device's process: small numbers that tell the clips apart, and every way to fail."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.types import AudioClip, ClipMedia, FeatureValue, ImageClip, TextClip, VideoClip

DEADLY, BAD, CRASHING, LARGE, HANGING, ONCE, TALKING = 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0
PRINTING, FLOODING = 108.0, 109.0


class OutOfMemoryError(RuntimeError):
    """As torch names its own: the name is what counts."""


def open_encoder(spec: str) -> FakeEncoder:
    """Make what a specification describes."""
    return FakeEncoder(**json.loads(spec))


def refuse(device: str) -> None:
    """Refuse to set a process up."""
    raise ConfigError(f"there is no {device} here")


def die(device: str) -> None:
    """End before anything is ready, as a native library does: with words on standard error."""
    os.write(2, b"no device here")
    os._exit(9)


class FakeEncoder:
    """Sums up media; a wave's first sample may ask for a disaster. `room` is shared by all that are loaded."""

    held: ClassVar[dict[str, int]] = {}  # what is loaded, and its size

    def __init__(
        self, name: str, factor: float = 1.0, size: int = 0, room: int = 0, most: int = 0, marker: str = ""
    ) -> None:
        self.name, self.factor, self.size, self.room, self.most, self.marker = name, factor, size, room, most, marker
        self.units = (0, 0)

    def setup(self, device: str) -> None:
        """Take the model's room, or run out of memory."""
        if self.name == "absent":
            raise OSError("no such folder: absent")
        if self.room and sum(self.held.values()) + self.size > self.room:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate")
        self.held[self.name] = self.size

    def close(self) -> None:
        """Give the room back."""
        self.held.pop(self.name)

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return [sum, number of samples, pid] of each clip."""
        if self.most and len(batch) > self.most:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate")
        for media in batch:
            if isinstance(media, AudioClip):
                self._obey(float(media.wave_N[0]))
        self.units = (self.units[0] + len(batch), self.units[1] + 1)
        return [value_of(media, self.factor) for media in batch]

    def _obey(self, order: float) -> None:
        if order == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if order == ONCE and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if order == BAD:
            raise SampleError("too_odd", "this clip is too odd")
        if order == CRASHING:
            raise ZeroDivisionError("a fault of the programmer")
        if order == LARGE:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate")
        if order == TALKING:
            for number in range(100):
                logging.getLogger("the.model").warning("odd weights %d", number)
        if order == PRINTING:
            os.write(2, b"said by a C library\x1b[31m\n")
            os.write(1, b"on standard output\n")
        if order == FLOODING:
            for number in range(500):
                os.write(2, b"line %d\n" % number)
        if order == HANGING:
            time.sleep(1000)


class StagingEncoder(FakeEncoder):
    """Copies media ahead of their turn, and computes on the copies."""

    def stage(self, batch: Sequence[ClipMedia]) -> list[ClipMedia]:
        """Copy."""
        return [AudioClip(wave_N=clip.wave_N.copy(), sample_rate_hz=1, start_ns=0) for clip in batch]  # type: ignore[union-attr]

    def extract_staged(self, staged: list[ClipMedia]) -> list[FeatureValue]:
        """Compute."""
        return self.extract(staged)


def open_staging(spec: str) -> FakeEncoder:
    """Make an encoder that can stage."""
    return StagingEncoder(**json.loads(spec))


def value_of(media: ClipMedia, factor: float = 1.0) -> FeatureValue:
    """Return what the fake makes of a clip; of a video a sequence that is a view of its frames."""
    if isinstance(media, VideoClip):
        return FeatureValue(array=media.frames[:, 0, :], times_ns=media.times_ns)
    if isinstance(media, TextClip):
        return FeatureValue(array=np.array([len(media.text)], np.float32))
    array = {AudioClip: "wave_N", ImageClip: "image"}.get(type(media), "values_TD")
    numbers = np.asarray(getattr(media, array), np.float64)
    return FeatureValue(array=np.array([numbers.sum() * factor, numbers.size], np.float32))


def die_if_broken(device: str) -> None:
    """End where the process is told that its device is broken."""
    if os.environ.get("BROKEN"):
        os._exit(9)
