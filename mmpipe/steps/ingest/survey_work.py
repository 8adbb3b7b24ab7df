"""What a worker is told about assets to survey, and what it answers: plain values, small beside the media."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import ClipsConfig, LimitsConfig, TextConfig
from mmpipe.signals.clip_signals import ClipSignals
from mmpipe.types import Asset


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetToSurvey:
    """An asset, and what of its limits does not bind it."""

    asset: Asset
    released: tuple[str, ...] = ()  # codes that a person lifted for it


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyWork:
    """Assets to look through, and what is asked of them."""

    root: Path
    assets: tuple[AssetToSurvey, ...]
    limits: LimitsConfig
    clips: ClipsConfig
    max_missing: float | None  # share of a track that may be broken; None: nothing at all
    prints: bool
    text: TextConfig  # how its files are read


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPrints:
    """By what near twins of an asset's streams are found; arrays as hex of their little-endian bytes, "" for none."""

    image: str = ""  # uint64 [1], pHash
    video_times_ns: str = ""  # int64 [T]
    video_hashes: str = ""  # uint64 [T], pHash of the first frame of every second
    sound_start_ns: int = 0
    sound_words: str = ""  # uint32 [T], one of every 11.6 ms
    sound_heard: str = ""  # uint8 [T], the marks of a `SoundPrint`: 0 where there is silence
    text: str = ""  # uint32 [128], MinHash of the characters


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedClip:
    """A clip that the asset is cut into, with what was measured of it."""

    key: str
    start_ns: int
    end_ns: int
    signals: ClipSignals


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFault:
    """Why a file of an asset cannot be used."""

    file_sha256: str
    code: str
    detail: str  # without the file's name: it is kept under the content's digest


@dataclass(frozen=True, slots=True, kw_only=True)
class LostShare:
    """How much of a stream's duration could not be decoded."""

    role: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSurvey:
    """All that one look through an asset found out; with faults it has no clips: the asset is another without them."""

    asset_id: str
    cuts_ns: tuple[int, ...] = ()
    speech_ns: tuple[tuple[int, int], ...] = ()
    lost: tuple[LostShare, ...] = ()  # of damaged streams only; 0 where all could be decoded, but not strictly
    faults: tuple[FileFault, ...] = ()
    clips: tuple[SurveyedClip, ...] = ()
    prints: AssetPrints | None = None
