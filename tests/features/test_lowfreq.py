from __future__ import annotations

import math

import numpy as np

from mmpipe.features.lowfreq import low_frequencies


def test_coefficients_are_the_written_out_cosine_transform() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 13), dtype=np.uint8)
    found = low_frequencies(image[None], 4)[0]
    for v in range(4):
        for u in range(4):
            total = sum(
                float(image[y, x]) * math.cos(math.pi * v * (2 * y + 1) / 18) * math.cos(math.pi * u * (2 * x + 1) / 26)
                for y in range(9)
                for x in range(13)
            )
            scale = math.sqrt((1 if v == 0 else 2) / 9) * math.sqrt((1 if u == 0 else 2) / 13)
            assert found[v, u] == np.float64(found[v, u])
            assert math.isclose(found[v, u], total * scale / (255 * math.sqrt(9 * 13)), abs_tol=1e-12)


def test_the_first_is_the_mean_whatever_the_size() -> None:
    for shape in ((1, 16, 16), (1, 33, 47)):
        coefficients = low_frequencies(np.full(shape, 51, np.uint8), 8)[0]
        assert math.isclose(coefficients[0, 0], 0.2)
        assert np.abs(coefficients.ravel()[1:]).max() < 1e-12


def test_an_image_does_not_feel_its_neighbours() -> None:
    images = np.random.default_rng(1).integers(0, 256, (7, 31, 45), dtype=np.uint8)
    together = low_frequencies(images, 8)
    for number in range(7):
        assert np.array_equal(together[number], low_frequencies(images[number : number + 1], 8)[0])
