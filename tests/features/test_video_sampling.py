"""How the frames of `video-hogdct` are chosen by its parameters, and that its old values stay what they were."""

from __future__ import annotations

import pytest

from mmpipe.errors import ConfigError
from mmpipe.features.extractor import fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.types import VideoNeeds


def test_the_fingerprint_of_every_frame_is_that_of_before_there_was_a_choice():
    extractor = make_extractor("video-hogdct")
    assert {"num_frames", "only_keyframes"}.isdisjoint(extractor.params.model_dump(mode="json"))
    others = [{"num_frames": 8}, {"only_keyframes": True}, {"frame_rate": 5.0}]
    assert len({fingerprint(extractor), *(fingerprint(make_extractor("video-hogdct", one)) for one in others)}) == 4


@pytest.mark.parametrize(("params", "way"), [({"num_frames": 8}, (8, False)), ({"only_keyframes": True}, (None, True))])
def test_the_needs_say_which_frames(params, way):
    needs = make_extractor("video-hogdct", params).needs
    assert isinstance(needs, VideoNeeds) and (needs.num_frames, needs.only_keyframes) == way


def test_two_ways_at_once_are_refused():
    with pytest.raises(ConfigError, match="one of them"):
        make_extractor("video-hogdct", {"num_frames": 8, "frame_rate": 5.0})
