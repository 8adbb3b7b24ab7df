"""AV-MNIST as MultiBench distributes it: written digits with 75 % of their energy removed, and spoken ones.

Format: pliang279/MultiBench@49f9be2, datasets/avmnist/get_data.py: image/train_data.npy [60000, 784], 0 to 255,
audio/train_data.npy [60000, 112, 112], 0 to 255 (spectrograms), train_labels.npy [60000], and the same of `test`
(10000). The last 5,000 of the training rows, a twelfth, are the validation split there and here. Vielzeuf et al. 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.external.published.sample import Described, LeftOut, Published, Sample, finite
from mmpipe.types import Split

_PIXELS = 28
_VAL_SHARE = 12  # one row of so many


def read_av_mnist(name: str, path: Path) -> Published:
    """Return AV-MNIST; `path` is its folder. ConfigError where a file is missing or does not fit the others."""
    parts = {split: _Part(path, split) for split in ("train", "test")}
    rows, columns = parts["train"].audio.shape[1:]
    if parts["test"].audio.shape[1:] != (rows, columns):
        raise ConfigError(f"{path}: spectrograms are {rows} x {columns} in train, and others in test")
    described = Described(
        group="id",
        target="digit",
        inputs=("image-pixels", "array-raw"),
        features={},
        own_features=("image-pixels", "array-raw"),
        fusions=("concat", "late_weighted"),
        corpus_lines=('arrays = { suffixes = ["npy"] }      # spectrograms',),
        tables=(
            f"[features.image-pixels]\nwidth_px = {_PIXELS}\nheight_px = {_PIXELS}\ngray = true",
            f"[features.array-raw]\ncolumns = {columns}\nmax_rows = {rows}",
        ),
        notes=(
            "pixels are rounded to whole numbers from 0 to 255",
            "the files tell no speaker, so every digit is its own group",
            "the spectrogram is kept as time steps of frequencies, as the array's axes lie",
        ),
    )  # fmt: skip
    return Published(described=described, rows=_rows(parts))


class _Part:
    """The three files of a split, mapped."""

    def __init__(self, folder: Path, split: str) -> None:
        self.name = split
        self.images = _load(folder / "image" / f"{split}_data.npy")
        self.audio = _load(folder / "audio" / f"{split}_data.npy")
        self.labels = _load(folder / f"{split}_labels.npy")
        counts = {len(self.images), len(self.audio), len(self.labels)}
        if len(counts) > 1 or not len(self.labels):
            said = f"{len(self.images)} pictures, {len(self.audio)} sounds and {len(self.labels)} labels"
            raise ConfigError(f"{folder}: {split} has {said}; each row has one of each")
        if self.images[0].size != _PIXELS**2 or self.audio.ndim != 3:
            raise ConfigError(
                f"{folder}: {split} has pictures {list(self.images.shape)} and sounds {list(self.audio.shape)}; wanted "
                f"are [rows, {_PIXELS**2}] and [rows, steps, frequencies]"
            )

    def split_of(self, row: int) -> Split:
        if self.name == "test":
            return Split.TEST
        return Split.TRAIN if row < len(self.labels) - len(self.labels) // _VAL_SHARE else Split.VAL


def _load(file: Path) -> np.ndarray:
    try:
        mapped: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise ConfigError(f"{file} is missing; AV-MNIST has image/, audio/ and SPLIT_labels.npy") from error
    except (ValueError, EOFError, OSError) as error:
        raise ConfigError(f"{file} is cut off, holds objects, or is no npy file: {error}") from error
    if mapped.dtype.kind not in "fiu" or not mapped.ndim:
        raise ConfigError(f"{file} holds {mapped.dtype} {list(mapped.shape)}; wanted are rows of numbers")
    return mapped


def _rows(parts: dict[str, _Part]) -> Iterator[Sample | LeftOut]:
    for part in parts.values():
        for row in range(len(part.labels)):
            name = f"{part.name}/{row:05d}"
            try:
                yield Sample(
                    id=name,
                    split=part.split_of(row),
                    labels={"digit": _digit(part.labels[row])},
                    array=finite(part.audio[row], "its sound"),
                    picture_HWC=_picture(part.images[row]),
                )
            except SampleError as error:
                yield LeftOut(row=name, code=error.code, detail=error.detail)


def _digit(value: np.ndarray) -> str:
    number = float(np.asarray(value).reshape(-1)[0]) if np.size(value) == 1 else -1.0
    if number not in range(10):
        raise SampleError("bad_label", f"the label is {value}; it is a digit")
    return str(int(number))


def _picture(row: np.ndarray) -> np.ndarray:
    pixels = finite(row, "its picture").reshape(_PIXELS, _PIXELS)
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
