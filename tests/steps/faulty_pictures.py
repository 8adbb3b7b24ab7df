"""Decoder processes for tests: every way to fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from mmpipe.errors import ConfigError
from mmpipe.types import EncodedPictures, FeatureValue


class FaultyServer:
    """Makes no picture."""

    def __init__(self, fault: Exception | None) -> None:
        self._fault = fault

    def setup(self, device: str) -> None:
        """Load nothing."""

    def extract(self, batch: Sequence[EncodedPictures]) -> list[FeatureValue]:
        """Raise, or end the process."""
        if self._fault is None:
            os.kill(os.getpid(), signal.SIGKILL)
            return []
        raise self._fault


def open_deadly(_spec: str) -> FaultyServer:
    """Return what ends its process with every run."""
    return FaultyServer(None)


def open_full(_spec: str) -> FaultyServer:
    """Return what never has room."""
    return FaultyServer(MemoryError("one picture of 64 x 48 does not fit"))


def open_blind(_spec: str) -> FaultyServer:
    """Return what finds no decoder on its GPU."""
    return FaultyServer(ConfigError("the driver's decoder library is not there: give it the capability `video`"))
