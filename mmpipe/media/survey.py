"""Look through a whole file once: small pictures and sound for whoever measures them, and what of it is broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.audio import WaveFeed
from mmpipe.media.clock import samples_to_ns
from mmpipe.media.decoders import Found, Wanted
from mmpipe.media.passes import ContainerPass
from mmpipe.media.video import FrameScaler
from mmpipe.types import Clip, Modality, Stream, VideoNeeds

SURVEY_PICTURE = VideoNeeds(width_px=160, height_px=90)
SURVEY_RATE_HZ = 16_000


class Observer(Protocol):
    """What measures a file while it is decoded; it keeps numbers, never pictures or waves."""

    def picture(self, time_ns: int, picture_HWC: np.ndarray) -> None:
        """Take the next picture: uint8 RGB at the survey's size, upright."""

    def sound(self, first: int, wave_N: np.ndarray) -> None:
        """Take the next block of sound: float32 mono in [-1, 1]; sample n is at n / SURVEY_RATE_HZ."""

    def channels(self, time_ns: int, wave_CN: np.ndarray, rate_hz: int, names: tuple[str, ...]) -> None:
        """Take the next block of sound as it is stored: float32 in [-1, 1], its channels by FFmpeg's names."""


_Observer = TypeVar("_Observer", bound=Observer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What of a file's tracks could not be decoded."""

    shares: Mapping[str, float]  # by role, of the track's duration
    is_refused: bool = False  # a strict decoder gave up, though no time of any track is lost


def survey_file(
    descriptor: int,
    streams: Sequence[Stream],
    limits: LimitsConfig,
    make_observer: Callable[[], _Observer],
    max_missing: float | None,
) -> tuple[_Observer, Loss]:
    """Decode the first video and audio track of a file in one pass; return who observed it, and what was lost.

    A strict decoder decides what is whole. Where it gives up, a lenient one with a new observer measures how much is
    missing. Raise SampleError decode_error where that is a larger share than `max_missing`, and limit_*. With None all
    that a strict decoder refuses is an error.
    """
    tracks = [stream for stream in streams if stream.role in (Modality.VIDEO, Modality.AUDIO)]
    try:
        observer = make_observer()
        _run(descriptor, tracks, limits, observer, 0.0, strict=True)
        return observer, Loss(shares={stream.role: 0.0 for stream in tracks})
    except SampleError as error:
        if error.code != "decode_error" or max_missing is None:
            raise
    observer = make_observer()
    lost_ns = _run(descriptor, tracks, limits, observer, max_missing, strict=False)
    shares = {stream.role: lost_ns[stream.track] / max(stream.duration_ns, 1) for stream in tracks}
    return observer, Loss(shares=shares, is_refused=not any(shares.values()))


def _run(
    descriptor: int,
    tracks: Sequence[Stream],
    limits: LimitsConfig,
    observer: Observer,
    max_missing: float,
    strict: bool,
) -> dict[int, int]:
    """Decode everything; return what was lost of each track, in nanoseconds."""
    wanted = [_want(stream, observer, max_missing, strict) for stream in tracks]
    with ContainerPass(descriptor, wanted, limits) as decoding:
        while not decoding.finished:
            for _ in decoding.step():
                pass
        return decoding.lost_ns()


def _want(stream: Stream, observer: Observer, max_missing: float, strict: bool) -> Wanted:
    whole = Clip(key="", asset_id="", start_ns=0, end_ns=stream.start_ns + stream.duration_ns)
    want = Wanted(stream=stream, clips=((0, whole),), needs=(), max_missing=max_missing, strict=strict)
    if stream.modality is Modality.VIDEO:
        return replace(want, picker=_Pictures(observer))
    return replace(want, cutter=_Sound(observer))


class _Pictures:
    """Scale every picture and hand it on."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._scaler = FrameScaler()

    def push(self, frame: Any, time_ns: int) -> Sequence[Found]:
        self._observer.picture(time_ns, self._scaler.scale(frame, SURVEY_PICTURE))
        return ()

    def end(self) -> Sequence[Found]:
        return ((0, {}),)


class _Sound(WaveFeed):
    """Hand the sound on within [-1, 1]: mixed to one channel at the survey's rate, and as it is stored."""

    def __init__(self, observer: Observer) -> None:
        super().__init__(SURVEY_RATE_HZ, lambda first, wave_N: observer.sound(first, _bounded(wave_N)))
        self._observer = observer

    def push(self, frame: Any, time_ns: int | None) -> Sequence[Found]:
        wave_CN, rate_hz = _bounded(stored_wave(frame)), frame.sample_rate
        names = tuple(channel.name for channel in frame.layout.channels)[: len(wave_CN)]
        names += ("",) * (len(wave_CN) - len(names))  # of some layouts only the number of channels is known
        found = super().push(frame, time_ns)
        start_ns = self.due_ns() - samples_to_ns(frame.samples, rate_hz)
        self._observer.channels(start_ns, wave_CN, rate_hz, names)
        return found

    def end(self) -> Sequence[Found]:
        super().end()
        return ((0, {}),)


def stored_wave(frame: Any) -> np.ndarray:
    """Return the samples of a frame as they are stored, float32 [C, N], full scale being 1."""
    wave = frame.to_ndarray()
    if not frame.format.is_planar:
        wave = wave.reshape(-1, frame.layout.nb_channels).T
    if wave.dtype == np.uint8:
        return (wave.astype(np.float32) - 128) / 128
    full = -float(np.iinfo(wave.dtype).min) if wave.dtype.kind == "i" else 1.0
    return np.asarray(wave / full, np.float32)


def _bounded(wave: np.ndarray) -> np.ndarray:
    """Return a wave without what sound stored as floats may hold: louder than full, or no number."""
    return np.clip(np.nan_to_num(wave, posinf=1.0, neginf=-1.0), -1.0, 1.0)
