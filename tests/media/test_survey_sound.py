"""A survey hands on the sound in all its channels, as it is stored."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmpipe.config import LimitsConfig
from mmpipe.media.probe import ProbedFile
from mmpipe.media.survey import survey_file


class Listener:
    """Keeps the sound of all channels."""

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []
        self.times_ns: list[int] = []
        self.forms: set[tuple[int, tuple[str, ...]]] = set()

    def picture(self, time_ns: int, picture_HWC: np.ndarray) -> None:
        pass

    def sound(self, first: int, wave_N: np.ndarray) -> None:
        pass

    def channels(self, time_ns: int, wave_CN: np.ndarray, rate_hz: int, names: tuple[str, ...]) -> None:
        self.blocks.append(wave_CN)
        self.times_ns.append(time_ns)
        self.forms.add((rate_hz, names))


def listen(path: Path, probed: ProbedFile) -> Listener:
    assert not probed.drops, probed.drops
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return survey_file(descriptor, probed.streams, LimitsConfig(), Listener, 0.02)[0]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_32", 2**-24),
        ("a.wav", "FLOAT", 2**-24),
        ("a.wav", "DOUBLE", 2**-24),
        ("a.flac", "PCM_24", 2**-23),
    ],
)
@pytest.mark.parametrize("num_channels", [1, 2, 5])
def test_every_sample_of_every_channel_comes_as_it_is_stored(
    tmp_path: Path,
    probe: Callable[..., ProbedFile],
    name: str,
    subtype: str,
    step: float,
    num_channels: int,
) -> None:
    wave_NC = np.random.default_rng(0).uniform(-0.9, 0.9, (9_000, num_channels))
    soundfile.write(tmp_path / name, wave_NC, 44_100, subtype=subtype)
    listener = listen(tmp_path / name, probe(name))
    np.testing.assert_allclose(np.concatenate(listener.blocks, axis=1), wave_NC.T, atol=step)
    ((rate_hz, names),) = listener.forms
    assert rate_hz == 44_100 and len(names) == num_channels
    assert names == ("FL", "FR") or (name, num_channels) != ("a.flac", 2)  # a plain WAV does not name its channels
    starts = np.cumsum([0, *(block.shape[1] for block in listener.blocks[:-1])])
    np.testing.assert_allclose(listener.times_ns, starts * 1e9 / 44_100, atol=1)


def test_what_is_no_number_or_louder_than_full_is_bounded(tmp_path: Path, probe: Callable[..., ProbedFile]) -> None:
    wave_NC = np.tile(np.array([[0.5, np.nan], [2.0, -3.0], [np.inf, 0.25]]), (1_000, 1))
    soundfile.write(tmp_path / "a.wav", wave_NC, 16_000, subtype="FLOAT")
    heard = np.concatenate(listen(tmp_path / "a.wav", probe("a.wav")).blocks, axis=1)
    np.testing.assert_array_equal(heard[:, :3], [[0.5, 1.0, 1.0], [0.0, -1.0, 0.25]])
