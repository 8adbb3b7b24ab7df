"""Tiny corpora of real media, made in code, and the content of a store."""

from __future__ import annotations

import hashlib
import json
import os
import wave
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from mmpipe.config import Config, parse_config

CORPUS = "talk"
DT = "2026-11-20"
RATE_HZ = 8_000
LONG_AGO_S = 1_700_000_000  # a file as fresh as the run is looked at again
NOT_CONTENT = ("_staging", "_runs", "_leases", "_audit")


def write_sound(path: Path, hz: float, seconds: float = 0.4, loud: float = 0.3) -> Path:
    """Write a WAV file with one tone."""
    times_N = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.sin(2 * np.pi * hz * times_N) * 32_000 * loud).astype("<i2").tobytes())
    return _old(path)


def write_words(path: Path, text: str) -> Path:
    """Write a text file."""
    path.write_text(text, encoding="utf-8")
    return _old(path)


def write_cues(path: Path, cues: Iterable[tuple[float, float, str]]) -> Path:
    """Write WebVTT captions: (start in seconds, end, text)."""
    lines = [f"{_clock(start)} --> {_clock(end)}\n{text}\n" for start, end, text in cues]
    return write_words(path, "WEBVTT\n\n" + "\n".join(lines))


def write_film(path: Path, seed: int, sound: bool = True, frames: int = 6) -> Path:
    """Write a film of noise over a slope, with a tone; each seed gives other pictures and another tone."""
    random = np.random.default_rng(seed)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("mpeg4", rate=12, options={"flags": "+bitexact", "threads": "1"})
        video.width, video.height, video.pix_fmt, video.bit_rate = 64, 48, "yuv420p", 200_000
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono", options={"flags": "+bitexact"})
        for index in range(frames):
            slope = np.arange(64) * 2 + 10 * index + random.normal(0, 8, (48, 64))
            frame = av.VideoFrame.from_ndarray(np.repeat(slope.clip(0, 255).astype(np.uint8)[..., None], 3, 2))
            frame.pts, frame.time_base = index, Fraction(1, 12)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound:
            wave_N = 0.3 * np.sin(np.arange(RATE_HZ * frames // 12) * 2 * np.pi * (300 + 40 * seed) / RATE_HZ)
            heard = av.AudioFrame.from_ndarray(wave_N.astype(np.float32)[None], format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
            container.mux(audio.encode(heard))
        container.mux(audio.encode(None))
    return _old(path)


def write_picture(path: Path, seed: int) -> Path:
    """Write a small PNG."""
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(path, "PNG")
    return _old(path)


def write_mixed(root: Path, order: int = 0) -> Path:
    """Write films, sounds, captions, a picture, a twin and broken files; `order` draws the order of their creation."""
    root.mkdir(parents=True)
    (root / "day").mkdir()
    makers = [
        *(lambda seed=seed: write_film(root / f"film-{seed}.mp4", seed) for seed in range(4)),
        *(lambda seed=seed: write_words(root / f"film-{seed}.txt", f"film number {seed}") for seed in range(3)),
        *(lambda seed=seed: write_sound(root / "day" / f"ton é {seed}.wav", 300 + 100 * seed) for seed in range(3)),
        lambda: write_cues(root / "day" / "ton é 0.vtt", [(0, 0.2, "first"), (0.2, 0.4, "second"), (3, 4, "late")]),
        lambda: write_picture(root / "still.png", 1),
        lambda: write_sound(root / "twin.wav", 400),
        lambda: write_words(root / "lonely.txt", "a text alone"),
        lambda: write_words(root / "broken.mp4", "never a film"),
        lambda: write_words(root / "empty.wav", ""),
    ]
    for index in np.random.default_rng(order).permutation(len(makers)) if order else range(len(makers)):
        makers[index]()
    return root


def config_table(folder: Path, models: Mapping[str, Any] | None = None, **corpus: Any) -> dict[str, Any]:
    """Return a config as a plain table: the corpus in `folder/media`, the store in `folder/store`."""
    return {
        "store": str(folder / "store"),
        "engine": {"workers": 2},
        "release": {"onnx": False},  # as tests/train have it: it takes seconds
        "corpora": {CORPUS: {"root": str(folder / "media"), "max_quarantined": 1.0, **corpus}},
        "models": dict(models or {}),
    }


def make_config(folder: Path, models: Mapping[str, Any] | None = None, **corpus: Any) -> Config:
    """Return the config of a folder."""
    return parse_config(config_table(folder, models, **corpus))


def write_config(folder: Path, table: Mapping[str, Any]) -> Path:
    """Write a config for a child process."""
    path = folder / "config.json"
    path.write_text(json.dumps(table))
    return path


def tree_digest(store: Path) -> dict[str, str]:
    """Return the content of a store: the sha256 of every file but unfinished work, runs and leases."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.relative_to(store).parts[0] not in NOT_CONTENT
    }


def differing(left: Mapping[str, str], right: Mapping[str, str]) -> list[str]:
    """Return the names that two trees do not share: what a failed comparison should print."""
    return sorted(name for name in {*left, *right} if left.get(name) != right.get(name))


def _clock(seconds: float) -> str:
    return f"00:00:{seconds:06.3f}"


def _old(path: Path) -> Path:
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return path
