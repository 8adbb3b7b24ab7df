"""Where somebody speaks, as the small network of silero-vad says it: an extra, loaded when it is first asked for."""

from __future__ import annotations

from array import array
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.types import NANOSECONDS_PER_SECOND

SAMPLE_RATE_HZ = 16_000
_CHUNK = 512  # what the network takes at this rate: 32 ms
_CHUNK_NS = _CHUNK * NANOSECONDS_PER_SECOND // SAMPLE_RATE_HZ
_BEGINS, _ENDS = 0.5, 0.35  # silero-vad's own thresholds
_MIN_SPEECH_NS = 250_000_000


def require_silero() -> None:
    """Raise ConfigError where the package is not installed."""
    if find_spec("silero_vad") is None:
        raise ConfigError(
            "clips.speech_detector = 'silero' needs the package silero-vad, which is not installed. "
            "Run `pip install silero-vad`, or say speech_detector = 'energy', which is built in."
        )


class SileroMeter:
    """Ask the network of every 32 ms; one number of each is kept."""

    def __init__(self, start_ns: int, padding_ns: int, pause_ns: int) -> None:
        """Load the network. Raise ConfigError where it is not installed."""
        require_silero()
        self._model = _load()
        self._model.reset_states()
        self._start_ns, self._padding_ns, self._pause_ns = start_ns, padding_ns, pause_ns
        self._held_N = np.zeros(0, np.float32)
        self._shares = array("f")
        self._num_samples = 0

    def push(self, wave_N: np.ndarray) -> None:
        """Take the next mono samples at 16 kHz; a gap in time must come as zeros."""
        self._num_samples += len(wave_N)
        held_N = np.concatenate((self._held_N, np.asarray(wave_N, np.float32)))
        whole = len(held_N) // _CHUNK * _CHUNK
        self._ask(held_N[:whole])
        self._held_N = held_N[whole:]

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Return the ranges in which somebody speaks, in order and apart."""
        if len(self._held_N):
            self._ask(np.pad(self._held_N, (0, _CHUNK - len(self._held_N))))
            self._held_N = self._held_N[:0]
        end_ns = self._start_ns + self._num_samples * NANOSECONDS_PER_SECOND // SAMPLE_RATE_HZ
        spoken = join_ranges(_runs(self._shares), self._pause_ns)
        padded = [
            (max(first_ns - self._padding_ns, 0), last_ns + self._padding_ns)
            for first_ns, last_ns in spoken
            if last_ns - first_ns >= _MIN_SPEECH_NS
        ]
        return tuple(
            (self._start_ns + first_ns, min(self._start_ns + last_ns, end_ns))
            for first_ns, last_ns in join_ranges(padded, 0)
        )

    def _ask(self, wave_N: np.ndarray) -> None:
        import torch

        with torch.inference_mode():
            for chunk_N in wave_N.reshape(-1, _CHUNK):
                self._shares.append(float(self._model(torch.from_numpy(chunk_N.copy()), SAMPLE_RATE_HZ).item()))


def join_ranges(ranges: list[tuple[int, int]], gap_ns: int) -> list[tuple[int, int]]:
    """Return ranges in which shorter gaps are bridged."""
    joined: list[tuple[int, int]] = []
    for first_ns, last_ns in ranges:
        if joined and first_ns - joined[-1][1] <= gap_ns:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last_ns))
        else:
            joined.append((first_ns, last_ns))
    return joined


def _runs(shares: array[float]) -> list[tuple[int, int]]:
    """Return the runs of speech: they begin over one threshold, and end under a lower one."""
    runs: list[tuple[int, int]] = []
    first: int | None = None
    for number, share in enumerate((*shares, 0.0)):
        if first is None and share >= _BEGINS:
            first = number
        elif first is not None and share < _ENDS:
            runs.append((first * _CHUNK_NS, number * _CHUNK_NS))
            first = None
    return runs


@lru_cache(maxsize=1)
def _load() -> Any:
    from silero_vad import load_silero_vad  # type: ignore[import-untyped]

    return load_silero_vad()
