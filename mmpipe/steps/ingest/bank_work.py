"""What a worker is told of clips for a noise bank, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import LimitsConfig
from mmpipe.types import Clip, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class BankWork:
    """Clips whose sound is wanted, each with its track."""

    root: Path
    clips: tuple[tuple[Clip, Stream], ...]
    limits: LimitsConfig
    sample_rate_hz: int
    length_s: float  # most that is taken of a clip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipWave:
    """The sound of a clip: float32, mono, little-endian."""

    key: str
    asset_id: str
    wave_base64: str
