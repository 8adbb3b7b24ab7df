"""Histograms of oriented gradients (Dalal and Triggs, CVPR 2005) of many gray images at once.

Axes: N images, H height, W width, Y and X cells, O orientations.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

NUM_ORIENTATIONS = 9
_LIMIT = 0.2  # the "hys" of L2-hys: no single entry may say more than this
_NOISE = 4.0  # mean difference, in gray levels, that counts as none: flat regions must not blow up their noise
_SPAN = 511  # a difference of two bytes is one of 511 values


def describe_gradients(images_NHW: np.ndarray, cells_y: int, cells_x: int) -> np.ndarray:
    """Return the HOG of uint8 gray images, float32 [N, Y * X * 9]; an image without edges gives zeros."""
    # Votes go into half cells, which are then shared among the cells around them: nearly Dalal's
    # bilinear vote, at the price of one vote per pixel, and steadier under small shifts than hard cells.
    halves = _votes(images_NHW, 2 * cells_y, 2 * cells_x)
    cells = _share(_share(halves, axis=1), axis=2)
    return _normalise(cells).reshape(len(images_NHW), -1).astype(np.float32)


def cell_of_pixel(num_pixels: int, num_cells: int) -> np.ndarray:
    """Return the cell of every pixel along one axis; sizes differ by one pixel at most."""
    return np.arange(num_pixels) * num_cells // num_pixels


def _votes(images_NHW: np.ndarray, cells_y: int, cells_x: int) -> np.ndarray:
    """Return the gradient magnitudes per pixel, float64 [N, Y, X, O]; each votes for its two nearest orientations."""
    num_images, height, width = images_NHW.shape
    lower, upper, weight_lower, weight_upper = _orientation_table()
    gradient = _gradient_index(images_NHW)
    cells_HW = cell_of_pixel(height, cells_y)[:, None] * cells_x + cell_of_pixel(width, cells_x)
    cells_NHW = np.arange(num_images)[:, None, None] * (cells_y * cells_x) + cells_HW
    num_bins = num_images * cells_y * cells_x * NUM_ORIENTATIONS
    base = cells_NHW * NUM_ORIENTATIONS
    total = np.zeros(num_bins)
    for orientation, weight in ((lower, weight_lower), (upper, weight_upper)):
        total += np.bincount((base + orientation[gradient]).ravel(), weight[gradient].ravel(), num_bins)
    return total.reshape(num_images, cells_y, cells_x, NUM_ORIENTATIONS) * (cells_y * cells_x / (height * width))


def _gradient_index(images_NHW: np.ndarray) -> np.ndarray:
    """Return for every pixel the row of the orientation table that its central differences choose."""
    padded = np.pad(images_NHW, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.int32)
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    return (down + 255) * _SPAN + (right + 255)


@lru_cache(maxsize=1)
def _orientation_table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return, for each pair of differences, two neighbouring orientations and the magnitude that each gets."""
    difference = np.arange(-255, 256)
    down, right = np.meshgrid(difference, difference, indexing="ij")
    magnitude = np.hypot(down, right)
    position = np.mod(np.arctan2(down, right), np.pi) / np.pi * NUM_ORIENTATIONS - 0.5
    lower = np.floor(position)
    share = position - lower
    lower_index = lower.astype(np.int64) % NUM_ORIENTATIONS
    upper_index = (lower_index + 1) % NUM_ORIENTATIONS
    return lower_index.ravel(), upper_index.ravel(), (magnitude * (1 - share)).ravel(), (magnitude * share).ravel()


def _share(halves: np.ndarray, axis: int) -> np.ndarray:
    """Return cells from half cells: its own two count 3/4, the neighbours' nearest 1/4."""
    moved = np.moveaxis(halves, axis, 0)
    padded = np.pad(moved, ((1, 1),) + ((0, 0),) * (moved.ndim - 1))
    cells = 0.75 * (padded[1:-2:2] + padded[2:-1:2]) + 0.25 * (padded[0:-3:2] + padded[3::2])
    return np.moveaxis(cells, 0, axis)


def _normalise(cells_NYXO: np.ndarray) -> np.ndarray:
    """Return each cell as the mean of its L2-hys values in the four 2 x 2 blocks that hold it.

    One value per cell and orientation, not four: Felzenszwalb et al. (PAMI 2010, section 6) found nothing lost.
    """
    cells_y, cells_x = cells_NYXO.shape[1:3]
    energy = np.pad(np.square(cells_NYXO).sum(axis=3), ((0, 0), (1, 1), (1, 1)), mode="edge")
    block = energy[:, 1:, 1:] + energy[:, :-1, 1:] + energy[:, 1:, :-1] + energy[:, :-1, :-1]
    total = np.zeros_like(cells_NYXO)
    for down in (0, 1):
        for right in (0, 1):
            norm = np.sqrt(block[:, down : down + cells_y, right : right + cells_x] + _NOISE**2)
            total += np.minimum(cells_NYXO / norm[..., None], _LIMIT)
    return total / 4
