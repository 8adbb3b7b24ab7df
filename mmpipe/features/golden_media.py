"""Small media by arithmetic alone, the same on every machine: what a golden is recorded from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmpipe.types import (
    ArrayClip,
    ArrayNeeds,
    AudioClip,
    AudioNeeds,
    ClipMedia,
    ImageClip,
    ImageNeeds,
    Needs,
    TextClip,
    TextNeeds,
    VideoClip,
    VideoNeeds,
)

_FRAME_NS = 40_000_000
_FRAMES = 6
_TEXTS = {
    "words": "The kettle sings, twice as loud as the fan; then 3 bells ring at half-past five.",
    "letters": "Ünïcode: 東京 and Москва, naïve CAFÉ #tag https://example.org 🙂",
    "one": "a",
}


def make_clips(needs: Needs) -> Mapping[str, ClipMedia]:
    """Return clips by name, in the form that an extractor asks for."""
    match needs:
        case AudioNeeds():
            return _sounds(needs.sample_rate_hz)
        case ImageNeeds():
            return {name: ImageClip(image=picture) for name, picture in _pictures(needs).items()}
        case VideoNeeds():
            return _films(needs)
        case TextNeeds():
            return {name: TextClip(text=text) for name, text in _TEXTS.items()}
        case ArrayNeeds():
            return _numbers()


def _sounds(rate_hz: int) -> dict[str, ClipMedia]:
    seconds_N = np.arange(round(0.6 * rate_hz)) / rate_hz
    sweep_N = 0.4 * np.sin(2 * np.pi * (150 * seconds_N + 900 * seconds_N**2)) + 0.1 * np.sin(
        2 * np.pi * 60 * seconds_N
    )
    noise_N = (even_noise(round(0.5 * rate_hz)) - 0.5) * (np.arange(round(0.5 * rate_hz)) // (rate_hz // 10) % 2)
    waves = {"sweep": sweep_N, "pulses": noise_N, "silence": np.zeros(round(0.4 * rate_hz))}
    return {
        name: AudioClip(wave_N=wave_N.astype(np.float32), sample_rate_hz=rate_hz, start_ns=1_000_000_000 * number)
        for number, (name, wave_N) in enumerate(waves.items())
    }


def _pictures(needs: ImageNeeds | VideoNeeds) -> dict[str, np.ndarray]:
    width, height = needs.width_px, needs.height_px
    ys_HW, xs_HW = np.mgrid[0:height, 0:width]
    disc_HW = 60 + 150 * ((2 * xs_HW - width) ** 2 + (2 * ys_HW - height) ** 2 < min(width, height) ** 2 // 2)
    ramp_HW = (xs_HW * 200) // width + (ys_HW * 55) // height
    noise_HW = np.floor(even_noise(width * height) * 256).reshape(height, width)
    shades = {"disc": disc_HW, "ramp": ramp_HW, "noise": noise_HW}
    return {name: _coloured(shade_HW, needs.gray) for name, shade_HW in shades.items()}


def _coloured(shade_HW: np.ndarray, gray: bool) -> np.ndarray:
    shade_HW = shade_HW.astype(np.int64) % 256
    if gray:
        return shade_HW.astype(np.uint8)
    return np.stack([shade_HW, 255 - shade_HW, (shade_HW * 3) % 256], axis=2).astype(np.uint8)


def _films(needs: VideoNeeds) -> dict[str, ClipMedia]:
    pictures = _pictures(needs)
    length = needs.num_frames or _FRAMES
    times_ns = np.arange(length, dtype=np.int64) * _FRAME_NS
    rolling = np.stack([np.roll(pictures["disc"], 3 * number, axis=1) for number in range(length)])
    changing = np.stack([pictures[("ramp", "noise")[number % 2]] for number in range(length)])
    return {
        "rolling": VideoClip(frames=rolling, times_ns=times_ns),
        "changing": VideoClip(frames=changing, times_ns=times_ns + 1_000_000_000),
        "one": VideoClip(frames=pictures["ramp"][None], times_ns=times_ns[:1]),
    }


def _numbers() -> dict[str, ClipMedia]:
    times_ns = np.arange(40, dtype=np.int64) * 25_000_000
    values_TD = np.stack([even_noise(40), np.arange(40) / 8.0, np.sin(np.arange(40) / 5)], axis=1).astype(np.float32)
    holed_TD = np.where(np.arange(120).reshape(40, 3) % 7 == 3, np.float32("nan"), values_TD)
    columns = ("force", "place", "tilt")
    return {
        "whole": ArrayClip(values_TD=values_TD, times_ns=times_ns, columns=columns),
        "holes": ArrayClip(values_TD=holed_TD, times_ns=times_ns + 500_000_000, columns=columns),
        "one": ArrayClip(values_TD=values_TD[:1], times_ns=times_ns[:1], columns=columns),
    }


def even_noise(count: int) -> np.ndarray:
    """Return numbers in [0, 1) by mixing whole ones (splitmix64): no library's generator, which may change."""
    mixed = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / 2**24
