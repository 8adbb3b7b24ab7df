"""What the tests of hostile files share: what became of a file, and a sound to hide behind."""

from __future__ import annotations

import io
import wave
from pathlib import Path

from mmpipe.config import LimitsConfig
from mmpipe.io import escape_name
from mmpipe.media.probe import probe_file
from mmpipe.types import RawFile

LONGEST_REFUSAL_S = 3.0


def listed(path: Path) -> RawFile:
    status = path.stat()
    return RawFile(name=escape_name(path.name), nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def fate(path: Path, **limits: float) -> str:
    """Return the code that a file is refused by, or its streams."""
    probed = probe_file(path.parent, listed(path), LimitsConfig(**limits))
    return probed.drops[0].code if probed.drops else " ".join(str(stream.modality) for stream in probed.streams)


def wav_of(rate_hz: int, channels: int, samples: int) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(1)
        sound.setframerate(rate_hz)
        sound.writeframes(bytes(samples * channels))
    return target.getvalue()
