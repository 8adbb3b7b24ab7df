from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmpipe.features.hog import cell_of_pixel, describe_gradients


def slow_votes(image: np.ndarray, cells_y: int, cells_x: int) -> np.ndarray:
    """Dalal's votes, one pixel after the other."""
    height, width = image.shape
    pixel = image.astype(float)
    votes = np.zeros((cells_y, cells_x, 9))
    for y in range(height):
        for x in range(width):
            down = pixel[min(y + 1, height - 1), x] - pixel[max(y - 1, 0), x]
            right = pixel[y, min(x + 1, width - 1)] - pixel[y, max(x - 1, 0)]
            position = (np.degrees(np.arctan2(down, right)) % 180) / 20 - 0.5
            lower = int(np.floor(position))
            cell = votes[y * cells_y // height, x * cells_x // width]
            cell[lower % 9] += np.hypot(down, right) * (1 - (position - lower))
            cell[(lower + 1) % 9] += np.hypot(down, right) * (position - lower)
    return votes * cells_y * cells_x / (height * width)


def slow_hog(image: np.ndarray, cells_y: int, cells_x: int) -> np.ndarray:
    halves = slow_votes(image, 2 * cells_y, 2 * cells_x)
    cells = np.zeros((cells_y, cells_x, 9))
    weights = {-1: 0.25, 0: 0.75, 1: 0.75, 2: 0.25}
    for cy in range(cells_y):
        for cx in range(cells_x):
            for dy, wy in weights.items():
                for dx, wx in weights.items():
                    y, x = 2 * cy + dy, 2 * cx + dx
                    if 0 <= y < 2 * cells_y and 0 <= x < 2 * cells_x:
                        cells[cy, cx] += wy * wx * halves[y, x]
    energy = np.pad((cells**2).sum(axis=2), 1, mode="edge")
    out = np.zeros_like(cells)
    for cy in range(cells_y):
        for cx in range(cells_x):
            for top in (cy, cy + 1):
                for left in (cx, cx + 1):
                    norm = np.sqrt(energy[top : top + 2, left : left + 2].sum() + 16)
                    out[cy, cx] += np.minimum(cells[cy, cx] / norm, 0.2) / 4
    return out.ravel()


@pytest.mark.parametrize(("shape", "cells"), [((24, 32), (3, 4)), ((17, 23), (2, 5)), ((16, 16), (8, 8))])
def test_hog_is_what_the_formulas_say(shape: tuple[int, int], cells: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.allclose(describe_gradients(image[None], *cells)[0], slow_hog(image, *cells), atol=1e-6)


@pytest.mark.parametrize(("angle_degrees", "bins"), [(10, {0}), (50, {2}), (90, {4}), (170, {8}), (0, {0, 8})])
def test_an_edge_votes_for_its_own_direction(angle_degrees: int, bins: set[int]) -> None:
    y, x = np.mgrid[:32, :32]
    angle = np.radians(angle_degrees)
    ramp = (128 + 3 * ((x - 16) * np.cos(angle) + (y - 16) * np.sin(angle))).clip(0, 255).astype(np.uint8)
    histogram = describe_gradients(ramp[None], 4, 4).reshape(4, 4, 9)[1, 1]
    assert set(np.flatnonzero(histogram >= 0.9 * histogram.max()).tolist()) == bins


def test_a_vertical_edge_shows_only_where_it_is() -> None:
    image = np.zeros((1, 32, 64), np.uint8)
    image[:, :, 52:] = 200
    hog = describe_gradients(image, 2, 4).reshape(2, 4, 9)
    assert hog[:, 3].max() > 0.1
    assert not hog[:, :2].any()


def test_contrast_hardly_matters_but_flat_noise_stays_small() -> None:
    rng = np.random.default_rng(4)
    strong = rng.integers(0, 200, (1, 48, 48), dtype=np.uint8)
    weak = strong // 2
    assert np.allclose(describe_gradients(strong, 4, 4), describe_gradients(weak, 4, 4), atol=0.01)
    noise = (128 + (rng.random((1, 48, 48)) < 0.02)).astype(np.uint8)
    assert describe_gradients(noise, 6, 6).max() < 0.1


def test_a_constant_image_gives_zeros() -> None:
    assert not describe_gradients(np.full((2, 20, 20), 77, np.uint8), 3, 3).any()


@given(
    images=st.tuples(st.integers(1, 4), st.integers(8, 40), st.integers(8, 40)).flatmap(
        lambda shape: arrays(np.uint8, shape)
    ),
    cells=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
@settings(max_examples=40, deadline=None)
def test_any_size_is_finite_and_an_image_does_not_feel_its_neighbours(
    images: np.ndarray, cells: tuple[int, int]
) -> None:
    together = describe_gradients(images, *cells)
    assert together.shape == (len(images), cells[0] * cells[1] * 9)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert 0 <= together.min() <= together.max() <= np.float32(0.2)
    for number in range(len(images)):
        assert np.array_equal(together[number], describe_gradients(images[number : number + 1], *cells)[0])


@given(num_pixels=st.integers(1, 200), num_cells=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_cells_share_pixels_evenly(num_pixels: int, num_cells: int) -> None:
    counts = np.bincount(cell_of_pixel(num_pixels, num_cells), minlength=num_cells)
    assert counts.sum() == num_pixels
    assert counts.max() - counts.min() <= 1
