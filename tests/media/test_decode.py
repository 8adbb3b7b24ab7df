from __future__ import annotations

import random
import struct

import av
import numpy as np
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.decode import decode_clips
from mmpipe.types import AudioNeeds, Cue, Modality, TextNeeds, VideoNeeds

GRAY = VideoNeeds(width_px=32, height_px=24, gray=True)
SOUND = AudioNeeds(sample_rate_hz=16000)
LIMITS = LimitsConfig()


def decode(sources, clips, needs, cues=()):
    return {decoded.clip.key: decoded.media for decoded in decode_clips(sources, clips, needs, cues, LIMITS)}


def number_of(frames_THW: np.ndarray) -> list[int]:
    """Read the number of a frame from its brightness (lower half; limited range rounds a little)."""
    return [round((float(frame[-6:].mean()) - 20) / 4) for frame in frames_THW]


def test_each_clip_comes_once_with_its_own_frames_and_samples(film, noise, probe, opened, clip):
    wave_N = noise(2.0)
    film("a.mkv", 50, wave_N=wave_N)
    clips = [clip(k / 4, k / 4 + 0.5) for k in range(7)] + [clip(0.0, 2.0), clip(0.5, 1.0)]
    random.Random(1).shuffle(clips)

    found = list(decode_clips(opened(probe("a.mkv")), clips, [GRAY, SOUND], (), LIMITS))

    assert sorted(one.clip.start_ns for one in found) == sorted(one.start_ns for one in clips)
    for one in found:
        video, sound = one.media[GRAY], one.media[SOUND]
        first, stop = -(-one.clip.start_ns // 40_000_000), -(-one.clip.end_ns // 40_000_000)
        assert number_of(video.frames) == list(range(first, stop))
        assert video.times_ns.tolist() == [number * 40_000_000 for number in range(first, stop)]
        assert video.frames.shape[1:] == (24, 32) and video.frames.dtype == np.uint8
        expected_N = wave_N[one.clip.start_ns * 16 // 1_000_000 : one.clip.end_ns * 16 // 1_000_000]
        assert sound.wave_N.dtype == np.float32 and len(sound.wave_N) == len(expected_N)
        np.testing.assert_allclose(sound.wave_N, expected_N, atol=1e-4)


def test_a_clip_does_not_depend_on_the_others(film, noise, probe, opened, clip):
    film("a.mp4", 50, wave_N=noise(2.0, 22050), rate_hz=22050, sound_codec="aac")
    clips = [clip(0.0, 0.4), clip(0.7, 1.1), clip(1.52, 1.9)]
    sources = opened(probe("a.mp4"))
    needs = [GRAY, SOUND, VideoNeeds(width_px=20, height_px=20, frame_rate=10)]
    together = decode(sources, clips, needs)
    for one in clips:
        alone = decode(sources, [one], needs)[one.key]
        for need in needs:
            for name in ("frames", "times_ns", "wave_N"):
                if hasattr(alone[need], name):
                    np.testing.assert_array_equal(getattr(alone[need], name), getattr(together[one.key][need], name))


def test_wave_length_is_exact_at_every_rate(film, noise, probe, opened, clip):
    film("a.wav", 0, wave_N=noise(3.0, 44100), rate_hz=44100)
    clips = [clip(0.0, 3.0), clip(0.1237, 1.9001), clip(2.5, 3.0)]
    needs = [AudioNeeds(sample_rate_hz=rate) for rate in (8000, 16000, 44100, 48000)]
    for one in clips:
        media = decode(opened(probe("a.wav")), clips, needs)[one.key]
        for need in needs:
            assert len(media[need].wave_N) == round((one.end_ns - one.start_ns) / 1e9 * need.sample_rate_hz)
            assert np.abs(media[need].wave_N).max() > 0.1


def test_resampling_keeps_time(film, probe, opened, clip):
    wave_N = np.zeros(44100 * 2)
    wave_N[44100] = 0.9  # a click at 1 s
    film("a.wav", 0, wave_N=wave_N, rate_hz=44100)
    one = clip(0.75, 1.25)
    sound = decode(opened(probe("a.wav")), [one], [SOUND])[one.key][SOUND]
    assert int(np.abs(sound.wave_N).argmax()) == 4000


def test_late_sound_stays_in_step_with_the_pictures(film, probe, opened, clip):
    wave_N = np.zeros(16000)
    wave_N[8000] = 0.9
    film("a.mkv", 50, wave_N=wave_N, first_sample=8000)  # sound from 0.5 s on, click at 1.0 s
    probed = probe("a.mkv")
    streams = {stream.modality: stream for stream in probed.streams}
    assert streams[Modality.AUDIO].start_ns == 500_000_000 and streams[Modality.VIDEO].start_ns == 0
    clips = [clip(0.0, 2.0), clip(0.4, 1.2), clip(0.0, 0.4)]
    found = decode(opened(probed), clips, [SOUND, GRAY])
    assert int(found[clips[0].key][SOUND].wave_N.argmax()) == 16000
    assert len(found[clips[0].key][SOUND].wave_N) == 24000  # the sound ends at 1.5 s
    assert int(found[clips[1].key][SOUND].wave_N.argmax()) == 9600
    assert not found[clips[1].key][SOUND].wave_N[:1600].any()
    assert SOUND not in found[clips[2].key]  # before the sound begins
    assert GRAY in found[clips[2].key]


def test_zero_is_where_the_container_starts(film, noise, probe, opened, clip):
    film("a.mkv", 50, wave_N=noise(2.0))
    film("b.mkv", 50, wave_N=noise(2.0), first_frame=250, first_sample=160_000)  # all of it 10 s later
    one = clip(0.48, 0.9)
    first, second = (probe(name) for name in ("a.mkv", "b.mkv"))
    assert [stream.digest for stream in first.streams] == [stream.digest for stream in second.streams]
    assert {stream.start_ns for stream in second.streams} == {0}
    a, b = (decode(opened(probed), [one], [GRAY, SOUND])[one.key] for probed in (first, second))
    np.testing.assert_array_equal(a[GRAY].frames, b[GRAY].frames)
    np.testing.assert_array_equal(a[SOUND].wave_N, b[SOUND].wave_N)


@pytest.mark.parametrize(
    ("frame_rate", "span", "numbers"),
    [
        (5.0, (0.0, 1.0), [0, 5, 10, 15, 20]),
        (10.0, (0.0, 0.6), [0, 2, 5, 7, 10, 12]),  # nearest; of two as near, the earlier
        (100.0, (0.2, 0.4), [5, 6, 7, 8, 9]),  # no frame twice
        (5.0, (0.21, 0.5), [6, 10]),  # only frames inside
        (25.0, (1.9, 2.5), [48, 49]),
    ],
)
def test_frame_rate_takes_the_nearest_frames_of_an_exact_grid(film, probe, opened, clip, frame_rate, span, numbers):
    film("a.mp4", 50)
    need = VideoNeeds(width_px=32, height_px=24, gray=True, frame_rate=frame_rate)
    one = clip(*span)
    video = decode(opened(probe("a.mp4")), [one], [need])[one.key][need]
    assert number_of(video.frames) == numbers


@pytest.mark.parametrize(
    ("span", "number"), [((0.121, 0.129), 3), ((0.145, 0.15), 4), ((0.01, 0.012), 0), ((1.985, 1.999), 49)]
)
def test_a_clip_between_two_frames_gets_the_nearest(film, probe, opened, clip, span, number):
    film("a.mp4", 50)
    one = clip(*span)
    for need in (GRAY, VideoNeeds(width_px=32, height_px=24, gray=True, frame_rate=5)):
        video = decode(opened(probe("a.mp4")), [one], [need])[one.key][need]
        assert number_of(video.frames) == [number]


def test_what_is_missing_is_absent(film, noise, probe, opened, clip):
    film("a.mkv", 25, wave_N=noise(2.0))
    one = clip(1.2, 1.8)  # the pictures end at 1 s
    media = decode(opened(probe("a.mkv")), [one], [GRAY, SOUND, TextNeeds()])[one.key]
    assert set(media) == {SOUND}
    assert decode({}, [one], [GRAY, SOUND]) == {one.key: {}}


def test_colour_frames_are_rgb(film, probe, opened, clip):
    film("a.mp4", 4)
    need = VideoNeeds(width_px=32, height_px=24)
    one = clip(0.0, 0.16)
    frames = decode(opened(probe("a.mp4")), [one], [need])[one.key][need].frames
    assert frames.shape == (4, 24, 32, 3)
    assert frames[3, 2, 2].max() < 10 < frames[3, -2, -2].min()


def test_rotation_is_applied(film, probe, opened, clip):
    data = film("a.mp4", 4, size=(64, 48)).read_bytes()
    upright = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    quarter = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)  # 90 degrees clockwise
    start = data.index(upright, data.index(b"tkhd"))
    (film("b.mp4", 4)).write_bytes(data[:start] + quarter + data[start + len(quarter) :])
    probed = probe("b.mp4")
    assert (probed.streams[0].width_px, probed.streams[0].height_px) == (48, 64)
    assert probed.streams[0].digest != probe("a.mp4").streams[0].digest
    need = VideoNeeds(width_px=24, height_px=32, gray=True)
    one = clip(0.0, 0.04)
    (image,) = decode(opened(probed), [one], [need])[one.key][need].frames
    assert image.shape == (32, 24)
    dark = image < 10  # the dark corner moves from the upper left to the upper right
    assert dark[4, -4] and not dark[4, 4] and not dark[-4, -4]


def test_text_of_a_clip(clip):
    cues = [
        Cue(start_ns=500_000_000, end_ns=900_000_000, text="two"),
        Cue(start_ns=0, end_ns=500_000_000, text="one"),
        Cue(start_ns=0, end_ns=3_000_000_000, text="all"),
    ]
    clips = [clip(0.0, 0.5), clip(0.4, 0.6), clip(2.0, 2.5), clip(3.0, 4.0)]
    found = decode({}, clips, [TextNeeds()], cues)
    texts = [found[one.key][TextNeeds()].text if found[one.key] else None for one in clips]
    assert texts == ["one all", "one all two", "all", None]


def test_text_without_cues_is_whole(tmp_path, probe, opened, clip):
    (tmp_path / "a.txt").write_text("Grüße aus\nKöln")
    one = clip(0.0, 1.0)
    found = decode(opened(probe("a.txt")), [one], [TextNeeds()])
    assert found[one.key][TextNeeds()].text == "Grüße aus\nKöln"


@pytest.mark.parametrize(
    ("name", "num_frames", "sound_codec"),
    [("a.mp4", 100, "flac"), ("a.mkv", 100, "aac"), ("a.mpegts", 100, "mp2"), ("a.flac", 0, "flac")],
)
def test_damage_in_the_middle_ends_after_the_clips_before_it(
    film, noise, probe, opened, clip, name, num_frames, sound_codec
):
    path = film(name, num_frames, wave_N=noise(4.0), sound_codec=sound_codec)
    probed, sources = probe(name), opened(probe(name))
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half : half + len(data) // 5] = bytes(len(data) // 5)
    path.write_bytes(data)  # the same size: it breaks after it was probed
    assert probed.streams
    found = []
    with pytest.raises(SampleError) as caught:
        for decoded in decode_clips(sources, [clip(k / 4, k / 4 + 0.25) for k in range(16)], [GRAY, SOUND], (), LIMITS):
            found.append(decoded.clip.start_ns / 1e9)
    assert caught.value.code == "decode_error"
    assert "after" in caught.value.detail and "of 4.0" in caught.value.detail
    assert found == [k / 4 for k in range(len(found))]
    assert 2 <= len(found) < 12


def without_packets(path, kind: str, dropped: range) -> None:
    """Take packets out of a track, as damage that a container heals in silence does."""
    copy = path.with_name(f"copy-{path.name}")
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        number = -1
        for packet in source.demux():
            number += packet.stream.type == kind
            if packet.dts is not None and not (packet.stream.type == kind and number in dropped):
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    copy.rename(path)


def test_a_small_gap_in_the_sound_is_silence_and_moves_nothing(film, noise, probe, opened, clip):
    wave_N = noise(10.0)
    path = film("a.mkv", 0, wave_N=wave_N)
    without_packets(path, "audio", range(50, 52))  # 125 ms from 3.125 s on
    clips = [clip(3.0, 4.0), clip(3.15, 3.2), clip(9.0, 10.0)]
    found = decode(opened(probe("a.mkv")), clips, [SOUND])
    wave_N[50_000:52_000] = 0
    np.testing.assert_allclose(found[clips[0].key][SOUND].wave_N, wave_N[48_000:64_000], atol=1e-4)
    np.testing.assert_allclose(found[clips[2].key][SOUND].wave_N, wave_N[144_000:], atol=1e-4)
    assert SOUND not in found[clips[1].key]  # nothing was heard there


def test_pictures_whose_references_are_lost_count_as_lost(film, probe, opened, clip):
    path = film("a.mp4", 100)
    without_packets(path, "video", range(1))  # the first key frame: what refers to it cannot be right
    with pytest.raises(SampleError, match=r"decode_error: h264 track 0"):
        decode(opened(probe("a.mp4")), [clip(0, 4)], [GRAY])


def test_a_file_of_another_size_is_refused(film, noise, probe, opened, clip):
    path = film("a.wav", 0, wave_N=noise(1.0))
    sources = opened(probe("a.wav"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SampleError, match="changed_while_reading"):
        list(decode_clips(sources, [clip(0, 1)], [SOUND], (), LIMITS))


def test_frames_beyond_the_limit_are_refused(film, probe, opened, clip):
    film("a.mp4", 50)
    with pytest.raises(SampleError, match="limit_frames"):
        list(decode_clips(opened(probe("a.mp4")), [clip(0, 2)], [GRAY], (), LimitsConfig(frames=20)))


def test_two_channels_mix_within_bounds_and_floats_are_made_finite(tmp_path, probe, opened, clip):
    values = np.full((8000, 2), 1.5, np.float32)
    values[100] = np.nan
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 64000, b"WAVE", b"fmt ", 16, 3, 2, 8000, 64000, 8, 32, b"data", 64000
    )
    (tmp_path / "a.wav").write_bytes(header + values.tobytes())
    one = clip(0.0, 1.0)
    need = AudioNeeds(sample_rate_hz=8000)
    wave_N = decode(opened(probe("a.wav")), [one], [need])[one.key][need].wave_N
    assert np.isfinite(wave_N).all() and wave_N.max() == 1.0 and len(wave_N) == 8000
    (tmp_path / "b.wav").write_bytes(header + np.full((8000, 2), 0.5, np.float32).tobytes())
    wave_N = decode(opened(probe("b.wav")), [one], [need])[one.key][need].wave_N
    np.testing.assert_allclose(wave_N, 0.5, atol=1e-6)
