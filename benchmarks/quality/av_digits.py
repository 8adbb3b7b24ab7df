"""Spoken and written digits with the pipeline's features: what the benchmarks of imputation and generation share.

A recording and a picture of one clip are matched by their digit alone. Speakers are the groups: a split that shares
them flatters every figure.
"""

from __future__ import annotations

import json
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from mmpipe.features.audio_logmel import AudioLogMel, LogMelParams
from mmpipe.features.audio_mfccseg import AudioMfccSeg, MfccSegParams
from mmpipe.features.dsp import segment_means
from mmpipe.features.image_hogdct import ImageHogDct, ImageHogDctParams
from mmpipe.types import AudioClip, ImageClip

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "av_digits"
LOGMEL_SEGMENTS = 12  # ordered means of the spectrogram, as an encoder with `segments = 12` pools it
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Digits:
    """Row n speaks of one clip."""

    sound_NF: np.ndarray  # audio-mfccseg and the pooled audio-logmel, side by side
    mfccseg_NF: np.ndarray
    hogdct_NF: np.ndarray
    pixels_NHW: np.ndarray  # float32 in [0, 1]
    digits_N: np.ndarray
    speakers_N: np.ndarray

    def take(self, rows: np.ndarray) -> Digits:
        """Return these rows."""
        return Digits(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def read_digits(folder: Path = CORPUS, *, every: int = 1) -> Digits:
    """Read every n-th clip of the corpus, in the order of its labels table."""
    if not folder.is_dir():
        raise SystemExit(f"no AV digits at {folder}: give the corpus' folder with --from")
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text("utf-8").splitlines()][::every]
    sounds = [_read_sound(folder / "raw" / f"{row['id']}.wav") for row in rows]
    pictures = [_read_picture(folder / "raw" / f"{row['id']}.png") for row in rows]
    mfccseg_NF = np.stack([value.array for value in AudioMfccSeg(MfccSegParams(sample_rate_hz=8000)).extract(sounds)])
    spectrograms = AudioLogMel(LogMelParams(sample_rate_hz=8000, num_mels=40)).extract(sounds)
    logmel_NF = np.stack([segment_means(value.array, LOGMEL_SEGMENTS).ravel() for value in spectrograms])
    size_px = ImageHogDctParams().size_px
    stills = [ImageClip(image=np.asarray(picture.resize((size_px, size_px)))) for picture in pictures]
    return Digits(
        sound_NF=np.concatenate([mfccseg_NF, logmel_NF], 1).astype(np.float32),
        mfccseg_NF=mfccseg_NF,
        hogdct_NF=np.stack([value.array for value in ImageHogDct(ImageHogDctParams()).extract(stills)]),
        pixels_NHW=np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) / 255,
        digits_N=np.array([int(row["digit"]) for row in rows]),
        speakers_N=np.array([row["speaker"] for row in rows]),
    )


def _read_sound(file: Path) -> AudioClip:
    with wave.open(str(file)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2), f"{file}: expected 16 bit mono"
        wave_N = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768
        return AudioClip(wave_N=wave_N, sample_rate_hz=sound.getframerate(), start_ns=0)


def _read_picture(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        return picture.convert("L")
