"""A picture of pictures: rows by class, real ones on the left, made ones on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

GAP_PX = 8
SCALE = 2  # a digit of 28 pixels is hard to see
GREY = 128


def write_sheet(
    file: Path, real_NHW: np.ndarray, made_NHW: np.ndarray, classes_N: np.ndarray, *, per_class: int = 12
) -> Path:
    """Write a PNG of the first pictures of every class, values in [0, 1]; row n of both speaks of one clip."""
    rows = [np.flatnonzero(classes_N == one)[:per_class] for one in np.unique(classes_N)]
    sides = [_grid(pictures_NHW, rows, per_class) for pictures_NHW in (real_NHW, made_NHW)]
    gap = np.full((len(sides[0]), GAP_PX), GREY, dtype=np.uint8)
    sheet = Image.fromarray(np.concatenate([sides[0], gap, sides[1]], 1))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.resize((SCALE * sheet.width, SCALE * sheet.height), Image.Resampling.NEAREST).save(file)
    return file


def _grid(pictures_NHW: np.ndarray, rows: Sequence[np.ndarray], per_class: int) -> np.ndarray:
    """Return pictures beside and below each other, uint8; what a class has too few of is grey."""
    height, width = pictures_NHW.shape[1:]
    out = np.full((len(rows) * height, per_class * width), GREY, dtype=np.uint8)
    for number, found in enumerate(rows):
        for place, row in enumerate(found):
            tile = (255 * pictures_NHW[row]).round().astype(np.uint8)
            out[number * height : (number + 1) * height, place * width : (place + 1) * width] = tile
    return out
