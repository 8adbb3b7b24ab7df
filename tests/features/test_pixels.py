"""Pictures as bytes: what the decoder gave, one row each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmpipe.features.extractor import Extractor, fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.store.shard import check_value
from mmpipe.types import COVER, STRETCH, FeatureKind, Fit, ImageClip, ImageNeeds, VideoClip, VideoNeeds

SIZE = {"width_px": 12, "height_px": 8}


@pytest.mark.parametrize("gray", [False, True])
def test_a_still_is_a_vector_of_its_bytes(gray: bool) -> None:
    extractor = make_extractor("image-pixels", {**SIZE, "gray": gray})
    assert isinstance(extractor, Extractor)
    shape = (8, 12) if gray else (8, 12, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (value,) = extractor.extract([ImageClip(image=image)])
    check_value(extractor.schema, value)
    assert (extractor.schema.dtype, extractor.schema.kind) == ("uint8", FeatureKind.VECTOR)
    np.testing.assert_array_equal(value.array.reshape(shape), image)


def test_frames_are_rows_with_their_times() -> None:
    extractor = make_extractor("video-pixels", {**SIZE, "num_frames": 5})
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 3), np.uint8)
    clip = VideoClip(frames=frames[:, :, ::-1], times_ns=np.arange(5) * 7)  # not contiguous, as a turned video is
    (value,) = extractor.extract([clip])
    check_value(extractor.schema, value)
    assert extractor.schema.dtype == "uint8"
    np.testing.assert_array_equal(value.array.reshape(frames.shape), frames[:, :, ::-1])
    np.testing.assert_array_equal(value.times_ns, clip.times_ns)


def test_frames_are_chosen_in_one_way_and_eight_are_usual() -> None:
    needs = make_extractor("video-pixels").needs
    assert (needs.num_frames, needs.width_px, needs.height_px) == (8, 64, 64)  # type: ignore[union-attr]
    rate = make_extractor("video-pixels", {"frame_rate": 2.0}).needs
    assert (rate.num_frames, rate.frame_rate) == (None, 2.0)  # type: ignore[union-attr]
    with pytest.raises(Exception, match="one of them"):
        make_extractor("video-pixels", {"frame_rate": 2.0, "only_keyframes": True})


def test_a_picture_of_another_size_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="image-pixels reads pictures"):
        make_extractor("image-pixels", SIZE).extract([ImageClip(image=np.zeros((8, 8, 3), np.uint8))])


@pytest.mark.parametrize("name", ["image-pixels", "video-pixels"])
def test_pictures_keep_their_shape_where_that_is_asked_for(name: str) -> None:
    def fit_of(**params: Any) -> Fit:
        needs = make_extractor(name, {**SIZE, **params}).needs
        assert isinstance(needs, ImageNeeds | VideoNeeds)
        return needs.fit

    assert (fit_of(), fit_of(fit="cover")) == (STRETCH, COVER)
    assert fit_of(fit="cover", shortest_edge_px=14) == Fit(keeps_shape=True, box_px=(14, 14))
    for wrong in ({"shortest_edge_px": 14}, {"fit": "cover", "shortest_edge_px": 11}):
        with pytest.raises(Exception, match="shortest_edge_px"):
            make_extractor(name, {**SIZE, **wrong})


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("image-pixels", "c89d45d97147859600863e79c9bb4ab6b4893c03b1cc7d9928caf4831b218d65"),
        ("video-pixels", "87040fdc0b91974624dde9a9eb3ef09d00d80782de3e769731d401369073e3dd"),
        ("image-hogdct", "67fd06a9baa9ece004a4979740aaf95afed0795640a1b4e133608ca0d0dcfcd5"),
        ("video-hogdct", "b24edec4911cf7ede5c39aefa011eb828ac073ebb93ddb606de9f6645585282e"),
    ],
)
def test_values_that_were_stored_before_there_was_a_fit_stand(name: str, mark: str) -> None:
    assert fingerprint(make_extractor(name)) == mark
    if "pixels" in name:
        marks = {fingerprint(make_extractor(name, table)) for table in ({"fit": "cover"}, {"fit": "stretch"})}
        assert len(marks) == 2 and mark in marks
