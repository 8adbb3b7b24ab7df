"""One Prefect server for all flow tests, and small corpora made of real files."""

from __future__ import annotations

import math
import struct
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a Prefect server with an empty database; nothing of it reaches the home folder."""
    from prefect.settings import (
        PREFECT_HOME,
        PREFECT_LOGGING_LEVEL,
        PREFECT_RESULTS_DEFAULT_SERIALIZER,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    settings = {
        PREFECT_HOME: tmp_path_factory.mktemp("prefect"),
        PREFECT_LOGGING_LEVEL: "ERROR",
        PREFECT_RESULTS_DEFAULT_SERIALIZER: "json",
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with temporary_settings(settings), prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def write_corpus(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a corpus of tones (`name=None`) and other bytes, and its config."""

    def write(files: dict[str, bytes | None], settings: str = "") -> Path:
        for number, (name, content) in enumerate(files.items()):
            path = tmp_path / "raw" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                write_tone(path, 200 + 40 * number)
            else:
                path.write_bytes(content)
        config = tmp_path / "mmpipe.toml"
        config.write_text(
            'store = "store"\ntimezone = "Europe/Berlin"\n[engine]\nworkers = 1\n'
            f'[corpora.tones]\nroot = "raw"\nfeatures = ["audio-logmel"]\nshard_clips = 2\n{settings}\n'
        )
        return config

    return write


def write_tone(path: Path, frequency_hz: int) -> None:
    """Write half a second of a sine as WAV."""
    samples = (int(9000 * math.sin(2 * math.pi * frequency_hz * index / 8000)) for index in range(4000))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
