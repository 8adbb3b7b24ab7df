"""Which frames a clip gets: exact to the frame against a full decode, whatever way they are chosen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.media.decode import decode_clips
from mmpipe.types import VideoNeeds

SIZE = {"width_px": 32, "height_px": 24, "gray": True}
ALL, KEYS = VideoNeeds(**SIZE), VideoNeeds(**SIZE, only_keyframes=True)


def decode(sources, clips, needs):
    return {one.clip.key: one.media for one in decode_clips(sources, clips, needs, (), LimitsConfig())}


@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 50, 60])
@pytest.mark.parametrize("span", [(0.0, 2.0), (0.33, 1.71), (1.0, 1.1)])
def test_uniform_frames_are_those_nearest_to_the_middles(film, probe, opened, clip, num_frames, span):
    film("a.mp4", 50)
    need, one = VideoNeeds(**SIZE, num_frames=num_frames), clip(*span)
    media = decode(opened(probe("a.mp4")), [one], [ALL, need])[one.key]
    times_ns = media[ALL].times_ns
    middles = one.start_ns + (np.arange(num_frames) + 0.5) * (one.end_ns - one.start_ns) / num_frames
    chosen = np.unique(np.abs(times_ns[:, None] - middles[None]).argmin(0))
    np.testing.assert_array_equal(media[need].times_ns, times_ns[chosen])
    np.testing.assert_array_equal(media[need].frames, media[ALL].frames[chosen])


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("b.mkv", "mpeg2video"), ("a.webm", "libvpx-vp9")])
def test_key_frames_are_the_same_with_and_without_the_rest(film, probe, opened, clip, name, codec):
    film(name, 50, codec, key_every=12)
    clips = [clip(0.0, 2.0), clip(0.5, 0.9), clip(0.3, 1.0), clip(1.0, 1.3), clip(1.9, 2.0)]
    sources = opened(probe(name))
    together, alone = decode(sources, clips, [ALL, KEYS]), decode(sources, clips, [KEYS])
    for one in clips:
        mixed, keys = together[one.key], alone[one.key][KEYS]
        np.testing.assert_array_equal(keys.times_ns, mixed[KEYS].times_ns)
        np.testing.assert_array_equal(keys.frames, mixed[KEYS].frames)
    whole = together[clips[0].key]
    assert len(whole[KEYS].times_ns) >= 4
    assert set(whole[KEYS].times_ns) < set(whole[ALL].times_ns)


def test_a_clip_without_a_key_frame_keeps_the_last_before_it(film, probe, opened, clip):
    film("a.mp4", 50, key_every=25)
    sources, whole = opened(probe("a.mp4")), clip(0.0, 2.0)
    keys = decode(sources, [whole], [KEYS])[whole.key][KEYS].times_ns.tolist()
    gaps = [(key, after) for key, after in pairwise(keys) if after - key > 200_000_000]
    between = [clip((key + 50_000_000) / 1e9, (after - 50_000_000) / 1e9) for key, after in gaps]
    for clips in ([between[-1]], between):
        found = decode(sources, clips, [KEYS])
        assert found[between[-1].key][KEYS].times_ns.tolist() == [gaps[-1][0]]


@pytest.mark.parametrize("ways", [{"frame_rate": 5.0, "num_frames": 3}, {"num_frames": 0}, {"frame_rate": -1.0}])
def test_contradictory_needs_are_refused(ways):
    with pytest.raises(ValueError, match="one of them"):
        VideoNeeds(**SIZE, **ways)
