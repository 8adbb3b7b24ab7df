"""What measures an asset's pictures and sound while they are decoded: every meter sees every block once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmpipe.config import ClipRule, ClipsConfig
from mmpipe.signals.loudness import SAMPLE_RATE_HZ, LoudnessMeter, LoudnessSeries
from mmpipe.signals.picture import PictureMeter, PictureSeries
from mmpipe.signals.picture_prints import VideoPrint, VideoPrinter
from mmpipe.signals.shots import ShotMeter, find_cuts
from mmpipe.signals.silero import SileroMeter
from mmpipe.signals.sound_prints import SoundPrint, SoundPrinter
from mmpipe.signals.speech import SpeechMeter, SpeechRule, find_speech
from mmpipe.types import NANOSECONDS_PER_SECOND

_SILENCE_N = 60 * SAMPLE_RATE_HZ  # a gap comes in pieces of a minute
_BLOCK_N = 2 * SAMPLE_RATE_HZ  # a codec's frames are short: meters cost less by the second


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesMeasured:
    """What was seen."""

    series: PictureSeries
    cuts_ns: tuple[int, ...]
    print: VideoPrint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundMeasured:
    """What was heard."""

    series: LoudnessSeries
    speech_ns: tuple[tuple[int, int], ...]
    print: SoundPrint | None


class AssetMeter:
    """An Observer of one file (see `media.survey`)."""

    def __init__(self, clips: ClipsConfig, prints: bool) -> None:
        """Take how the asset is cut, which says what counts as a shot and as speech, and whether to make prints."""
        self._clips = clips
        self._prints = prints
        self._pictures: _PictureMeters | None = None
        self._sound: _SoundMeters | None = None
        self._loudness: LoudnessMeter | None = None

    def picture(self, time_ns: int, picture_HWC: np.ndarray) -> None:
        """Take the next picture."""
        self._pictures = self._pictures or _PictureMeters(self._prints)
        self._pictures.push(time_ns, picture_HWC)

    def sound(self, first: int, wave_N: np.ndarray) -> None:
        """Take the next block of sound."""
        if first < 0:  # what a codec warms up on
            wave_N, first = wave_N[-first:], 0
        if len(wave_N):
            self._sound = self._sound or _SoundMeters(first, self._clips, self._prints)
            self._sound.push(first, wave_N)

    def channels(self, time_ns: int, wave_CN: np.ndarray, rate_hz: int, names: tuple[str, ...]) -> None:
        """Take the next block of sound in all its channels."""
        if time_ns < 0:  # what a codec warms up on
            wave_CN, time_ns = wave_CN[:, round(-time_ns * rate_hz / NANOSECONDS_PER_SECOND) :], 0
        if wave_CN.size:
            self._loudness = self._loudness or LoudnessMeter(time_ns)
            self._loudness.push(wave_CN, rate_hz, names, time_ns)

    def pictures_measured(self, end_ns: int) -> PicturesMeasured | None:
        """Return what was seen, the last picture up to the end of its track; None where there was no picture."""
        return self._pictures.finish(self._clips.shot_threshold, end_ns) if self._pictures else None

    def sound_measured(self) -> SoundMeasured | None:
        """Return what was heard; None where there was no sound."""
        return self._sound.finish(self._loudness.finish()) if self._sound and self._loudness else None


class _PictureMeters:
    """Everything that looks at pictures."""

    def __init__(self, prints: bool) -> None:
        self._quality = PictureMeter()
        self._shots = ShotMeter()
        self._printer = VideoPrinter() if prints else None

    def push(self, time_ns: int, picture_HWC: np.ndarray) -> None:
        self._quality.push(picture_HWC, time_ns)
        self._shots.push(picture_HWC, time_ns)
        if self._printer:
            self._printer.push(picture_HWC, time_ns)

    def finish(self, threshold: float, end_ns: int) -> PicturesMeasured:
        cuts_ns = find_cuts(self._shots.finish(), threshold)
        made = self._printer.finish() if self._printer else None
        return PicturesMeasured(series=self._quality.finish(end_ns), cuts_ns=cuts_ns, print=made)


class _SoundMeters:
    """Everything that listens to one channel; gaps are heard as silence, and what comes twice is heard once."""

    def __init__(self, first: int, clips: ClipsConfig, prints: bool) -> None:
        start_ns = first * NANOSECONDS_PER_SECOND // SAMPLE_RATE_HZ
        self._next = first
        self._printer = SoundPrinter(start_ns) if prints else None
        self._speech = _speech_meter(start_ns, clips)
        self._held: list[np.ndarray] = []
        self._num_held = 0

    def push(self, first: int, wave_N: np.ndarray) -> None:
        while self._next < first:
            self._hear(np.zeros(min(first - self._next, _SILENCE_N), np.float32))
        self._hear(wave_N[self._next - first :])

    def finish(self, series: LoudnessSeries) -> SoundMeasured:
        self._measure()
        made = self._printer.finish() if self._printer else None
        return SoundMeasured(series=series, speech_ns=self._speech.ranges(), print=made)

    def _hear(self, wave_N: np.ndarray) -> None:
        self._next += len(wave_N)
        self._held.append(wave_N)
        self._num_held += len(wave_N)
        if self._num_held >= _BLOCK_N:
            self._measure()

    def _measure(self) -> None:
        wave_N = np.concatenate(self._held) if self._held else np.zeros(0, np.float32)
        self._held, self._num_held = [], 0
        self._speech.push(wave_N)
        if self._printer:
            self._printer.push(wave_N)


class _EnergySpeech:
    """Speech by the energy of its band: built in."""

    def __init__(self, start_ns: int, padding_ns: int, pause_ns: int) -> None:
        self._meter = SpeechMeter(start_ns)
        self._rule = SpeechRule(padding_ns=padding_ns, min_silence_ns=pause_ns)

    def push(self, wave_N: np.ndarray) -> None:
        self._meter.push(wave_N)

    def ranges(self) -> tuple[tuple[int, int], ...]:
        return find_speech(self._meter.finish(), self._rule)


def _speech_meter(start_ns: int, clips: ClipsConfig) -> _EnergySpeech | SileroMeter:
    padding_ns = round(clips.speech_padding_s * NANOSECONDS_PER_SECOND)
    pause_ns = round(clips.speech_pause_s * NANOSECONDS_PER_SECOND)
    if ClipRule.SPEECH in (clips.rule, clips.then) and clips.speech_detector == "silero":
        return SileroMeter(start_ns, padding_ns, pause_ns)
    return _EnergySpeech(start_ns, padding_ns, pause_ns)
