from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmpipe.features.hog import describe_gradients
from mmpipe.features.lowfreq import low_frequencies
from mmpipe.features.registry import make_extractor
from mmpipe.types import ImageClip, ImageNeeds


@given(size_px=st.integers(16, 70), cells=st.integers(2, 8), frequencies=st.integers(1, 16), data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_setting_gives_a_finite_vector_of_the_promised_size(
    size_px: int, cells: int, frequencies: int, data: st.DataObject
) -> None:
    extractor = make_extractor("image-hogdct", {"size_px": size_px, "cells": cells, "frequencies": frequencies})
    image = data.draw(arrays(np.uint8, (size_px, size_px)))
    (value,) = extractor.extract([ImageClip(image=image)])
    assert value.array.shape == (extractor.schema.dim,)
    assert value.array.dtype == np.float32
    assert value.times_ns is None
    assert np.isfinite(value.array).all()


def test_the_parts_stand_one_after_the_other() -> None:
    image = np.random.default_rng(0).integers(0, 256, (56, 56), dtype=np.uint8)
    (value,) = make_extractor("image-hogdct").extract([ImageClip(image=image)])
    assert np.array_equal(value.array[:441], describe_gradients(image[None], 7, 7)[0])
    assert np.array_equal(value.array[441:505], low_frequencies(image[None], 8).astype(np.float32).ravel())
    mean, deviation, _, *percentiles = value.array[505:]
    assert mean == pytest.approx(image.mean() / 255)
    assert deviation == pytest.approx(image.std() / 255)
    assert percentiles == pytest.approx(np.percentile(image, [5, 25, 50, 75, 95]) / 255)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_constant_image_is_its_level_and_nothing_else(level: int) -> None:
    (value,) = make_extractor("image-hogdct").extract([ImageClip(image=np.full((56, 56), level, np.uint8))])
    constant = value.array[[441, 505, *range(508, 513)]]
    assert constant == pytest.approx(np.full(7, level / 255))
    assert np.abs(value.array).sum() == pytest.approx(constant.sum(), abs=1e-6)


def test_an_image_does_not_feel_the_batch() -> None:
    extractor = make_extractor("image-hogdct")
    images = np.random.default_rng(1).integers(0, 256, (5, 56, 56), dtype=np.uint8)
    clips = [ImageClip(image=image) for image in images]
    for clip, value in zip(clips, extractor.extract(clips), strict=True):
        assert np.array_equal(extractor.extract([clip])[0].array, value.array)


def test_it_asks_for_a_gray_square_and_says_so_when_it_gets_something_else() -> None:
    extractor = make_extractor("image-hogdct", {"size_px": 32})
    assert extractor.needs == ImageNeeds(width_px=32, height_px=32, gray=True)
    with pytest.raises(ValueError, match=r"\(32, 32\)"):
        extractor.extract([ImageClip(image=np.zeros((32, 32, 3), np.uint8))])


def test_written_digits_are_read(corpora: Path) -> None:
    rows = [json.loads(line) for line in (corpora / "av_digits" / "labels.jsonl").read_text().splitlines()][::4]
    folder = corpora / "av_digits" / "raw"
    images = [Image.open(folder / f"{row['id']}.png").convert("L").resize((56, 56)) for row in rows]
    values = make_extractor("image-hogdct").extract([ImageClip(image=np.asarray(image)) for image in images])
    x, y = np.stack([value.array for value in values]), np.array([row["digit"] for row in rows])
    test = np.random.default_rng(0).random(len(y)) < 0.3
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, tol=1e-2)).fit(x[~test], y[~test])
    assert model.score(x[test], y[test]) > 0.88
