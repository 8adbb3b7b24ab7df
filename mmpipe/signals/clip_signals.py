"""What the signals say of one clip, as one row of typed columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl

from mmpipe.signals.language import identify_language
from mmpipe.signals.loudness import LoudnessSeries, LoudnessSummary, summarise_loudness
from mmpipe.signals.picture import PictureSeries, PictureSummary, summarise_pictures
from mmpipe.signals.shots import count_shots
from mmpipe.signals.speech import share_of_range
from mmpipe.signals.words import describe_text
from mmpipe.types import NANOSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSignals:
    """What was measured of an asset as it was decoded once; None for what it lacks."""

    pictures: PictureSeries | None = None  # of its video
    cuts_ns: tuple[int, ...] = ()  # of its video
    image: PictureSeries | None = None  # of its still picture, one frame
    loudness: LoudnessSeries | None = None
    speech_ns: tuple[tuple[int, int], ...] = ()
    damaged_share: float | None = None  # of its packets or frames


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSignals:
    """The signals of a clip; None only where one does not apply: what it is measured by is not in the clip."""

    duration_s: float
    has_video: bool
    has_audio: bool
    has_image: bool
    has_text: bool
    loudness_lufs: float | None = None
    peak_dbfs: float | None = None
    clipping_share: float | None = None
    silence_share: float | None = None
    speech_share: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    motion: float | None = None
    black_share: float | None = None
    frozen_share: float | None = None
    num_shots: int | None = None
    text_characters: int | None = None
    text_words: int | None = None
    repetition_share: float | None = None
    language: str | None = None  # ISO 639-1; "" where it cannot be told
    language_confidence: float | None = None
    av_offset_s: float | None = None  # start of the asset's sound minus start of its pictures
    damaged_share: float | None = None


COLUMNS: Mapping[str, type[pl.DataType]] = MappingProxyType(
    {
        "duration_s": pl.Float64,
        "has_video": pl.Boolean,
        "has_audio": pl.Boolean,
        "has_image": pl.Boolean,
        "has_text": pl.Boolean,
        "loudness_lufs": pl.Float64,
        "peak_dbfs": pl.Float64,
        "clipping_share": pl.Float64,
        "silence_share": pl.Float64,
        "speech_share": pl.Float64,
        "brightness": pl.Float64,
        "contrast": pl.Float64,
        "sharpness": pl.Float64,
        "motion": pl.Float64,
        "black_share": pl.Float64,
        "frozen_share": pl.Float64,
        "num_shots": pl.Int64,
        "text_characters": pl.Int64,
        "text_words": pl.Int64,
        "repetition_share": pl.Float64,
        "language": pl.String,
        "language_confidence": pl.Float64,
        "av_offset_s": pl.Float64,
        "damaged_share": pl.Float64,
    }
)


def clip_signals(asset: AssetSignals, start_ns: int, end_ns: int, text: str = "") -> ClipSignals:
    """Return the signals of the clip `[start_ns, end_ns)` of an asset, on the asset's clock; images have no length."""
    timed = asset.pictures is not None or asset.loudness is not None
    if end_ns < start_ns or (timed and end_ns == start_ns):
        raise ValueError(f"a clip must end after it starts, got [{start_ns}, {end_ns}) ns")
    video = _pictures_of(asset.pictures, start_ns, end_ns)
    still = _pictures_of(asset.image, 0, 1)
    seen = still if video.brightness is None else video
    sound = LoudnessSummary() if asset.loudness is None else summarise_loudness(asset.loudness, start_ns, end_ns)
    has_video, has_audio = video.brightness is not None, sound.silence_share is not None
    words = describe_text(text) if text.strip() else None
    language, confidence = identify_language(text) if words else (None, None)
    return ClipSignals(
        duration_s=(end_ns - start_ns) / NANOSECONDS_PER_SECOND,
        has_video=has_video,
        has_audio=has_audio,
        has_image=still.brightness is not None,
        has_text=words is not None,
        loudness_lufs=sound.loudness_lufs,
        peak_dbfs=sound.peak_dbfs,
        clipping_share=sound.clipping_share,
        silence_share=sound.silence_share,
        speech_share=share_of_range(asset.speech_ns, start_ns, end_ns) if has_audio else None,
        brightness=seen.brightness,
        contrast=seen.contrast,
        sharpness=seen.sharpness,
        motion=video.motion,  # of a still picture there is none to measure
        black_share=video.black_share,
        frozen_share=video.frozen_share,
        num_shots=count_shots(asset.cuts_ns, start_ns, end_ns) if has_video else None,
        text_characters=words.num_characters if words else None,
        text_words=words.num_words if words else None,
        repetition_share=words.repetition_share if words else None,
        language=language,
        language_confidence=confidence,
        av_offset_s=_av_offset_s(asset.pictures, asset.loudness),
        damaged_share=asset.damaged_share,
    )


def _pictures_of(series: PictureSeries | None, start_ns: int, end_ns: int) -> PictureSummary:
    """Return the summary of a range; an empty one without pictures."""
    return PictureSummary() if series is None else summarise_pictures(series, start_ns, end_ns)


def _av_offset_s(pictures: PictureSeries | None, loudness: LoudnessSeries | None) -> float | None:
    """Return by how much the sound starts after the pictures; None where one is missing."""
    if pictures is None or loudness is None or not len(pictures) or not len(loudness):
        return None
    return float(np.int64(loudness.start_ns) - pictures.times_ns[0]) / NANOSECONDS_PER_SECOND
