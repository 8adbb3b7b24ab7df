from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpipe.config import ClipRule, ClipsConfig
from mmpipe.errors import ConfigError
from mmpipe.segment.clips import Marks, cut, length_ns
from mmpipe.types import Asset, Clip, Cue, Modality, Stream

SECOND = 1_000_000_000


def stream(modality: Modality, duration_ns: int, start_ns: int = 0, file: str = "a.mp4") -> Stream:
    return Stream(
        role=str(modality), modality=modality, digest="d", file=file, file_sha256="f", file_nbytes=1, track=0,
        start_ns=start_ns, duration_ns=duration_ns, codec="c",
    )  # fmt: skip


def asset(duration_ns: int, cues: tuple[Cue, ...] = ()) -> Asset:
    video = stream(Modality.VIDEO, duration_ns)
    return Asset(asset_id="0" * 64, source_id="a", streams=(video,), cues=cues)


def cue(start_ns: int, end_ns: int, text: str = "word") -> Cue:
    return Cue(start_ns=start_ns, end_ns=end_ns, text=text)


def spans(clips: tuple[Clip, ...]) -> list[tuple[float, float]]:
    return [(clip.start_ns / SECOND, clip.end_ns / SECOND) for clip in clips]


def test_whole_asset_is_one_clip() -> None:
    clips, drops = cut(asset(3 * SECOND), ClipsConfig())
    assert spans(clips) == [(0, 3)] and drops == ()


@pytest.mark.parametrize("modality", [Modality.IMAGE, Modality.TEXT])
def test_what_has_no_time_lasts_a_nominal_second(modality: Modality) -> None:
    still = Asset(asset_id="0" * 64, source_id="a", streams=(stream(modality, 0),))
    assert spans(cut(still, ClipsConfig())[0]) == [(0, 1)]
    assert spans(cut(still, ClipsConfig(rule=ClipRule.WINDOW, length_s=1.5))[0]) == [(0, 1)]


def test_length_is_that_of_sound_and_pictures_not_of_the_text() -> None:
    streams = (stream(Modality.TEXT, 9 * SECOND, file="a.vtt"), stream(Modality.VIDEO, 3 * SECOND))
    late_cue = cue(8 * SECOND, 9 * SECOND)
    film = Asset(asset_id="0" * 64, source_id="a", streams=streams, cues=(late_cue,))
    assert length_ns(film) == 3 * SECOND
    assert length_ns(replace(film, streams=streams[:1])) == 9 * SECOND


def test_tracks_that_start_apart_end_on_the_container_clock() -> None:
    video = stream(Modality.VIDEO, 3 * SECOND, start_ns=10 * SECOND)
    audio = stream(Modality.AUDIO, 3 * SECOND, start_ns=10 * SECOND + SECOND // 2)
    assert length_ns(Asset(asset_id="0" * 64, source_id="a", streams=(audio, video))) == 3.5 * SECOND
    elsewhere = replace(audio, file="a.wav")
    assert length_ns(Asset(asset_id="0" * 64, source_id="a", streams=(elsewhere, video))) == 3 * SECOND


@pytest.mark.parametrize(
    ("duration_s", "length_s", "hop_s", "expected"),
    [
        (6, 2, 2, [(0, 2), (2, 4), (4, 6)]),
        (7, 2, 2, [(0, 2), (2, 4), (4, 6), (6, 7)]),
        (6.99, 2, 2, [(0, 2), (2, 4), (4, 6)]),
        (3.5, 2, 1, [(0, 2), (1, 3), (2, 3.5)]),
        (4, 2, 1, [(0, 2), (1, 3), (2, 4)]),
        (5, 1, 2, [(0, 1), (2, 3), (4, 5)]),
        (1, 2, 2, [(0, 1)]),
    ],
)
def test_windows(duration_s: float, length_s: float, hop_s: float, expected: list[tuple[float, float]]) -> None:
    config = ClipsConfig(rule=ClipRule.WINDOW, length_s=length_s, hop_s=hop_s)
    clips, drops = cut(asset(round(duration_s * SECOND)), config)
    assert spans(clips) == expected and drops == ()


def test_an_asset_without_a_window_is_a_drop() -> None:
    clips, (drop,) = cut(asset(SECOND - 1), ClipsConfig(rule=ClipRule.WINDOW, length_s=2))
    assert clips == () and (drop.stage, drop.code, drop.source_id) == ("segment", "clip_too_short", "a")


def test_settings_that_make_no_sense_name_themselves() -> None:
    with pytest.raises(ConfigError, match="hop_s"):
        cut(asset(3600 * SECOND), ClipsConfig(rule=ClipRule.WINDOW, hop_s=1e-6))
    with pytest.raises(ConfigError, match="min_length_s"):
        cut(asset(SECOND), ClipsConfig(rule=ClipRule.WINDOW, length_s=1, min_length_s=2))


def test_every_fault_of_a_cue_has_its_code() -> None:
    cues = (
        cue(2 * SECOND, 4 * SECOND, "trimmed"),
        cue(0, SECOND, "good"),
        cue(SECOND, SECOND),
        cue(2 * SECOND, SECOND),
        cue(-1, SECOND),
        cue(3 * SECOND, 4 * SECOND),
        cue(0, 1000),
        cue(0, SECOND, "again"),
        cue(2 * SECOND, 3 * SECOND, "same once trimmed"),
        cue(3 * SECOND - 1000, 4 * SECOND),
    )
    clips, drops = cut(asset(3 * SECOND, cues), ClipsConfig(rule=ClipRule.CUES))
    assert [(*span, clip.text) for span, clip in zip(spans(clips), clips, strict=True)] == [
        (0, 1, "good"),
        (2, 3, "trimmed"),
    ]
    assert [drop.code for drop in drops] == [
        "bad_cue", "bad_cue", "bad_cue", "cue_past_end", "clip_too_short", "duplicate_clip", "duplicate_clip",
        "clip_too_short",
    ]  # fmt: skip


def test_no_cues_is_a_drop() -> None:
    clips, (drop,) = cut(asset(SECOND), ClipsConfig(rule=ClipRule.CUES))
    assert clips == () and drop.code == "no_cues"


times = st.integers(-SECOND, 12 * SECOND)
cue_lists = st.lists(st.builds(cue, times, times, st.text(max_size=3)), min_size=1, max_size=30)


@given(cue_lists, st.integers(1, 10 * SECOND))
def test_cues_in_are_clips_plus_drops(cues: list[Cue], duration_ns: int) -> None:
    clips, drops = cut(asset(duration_ns, tuple(cues)), ClipsConfig(rule=ClipRule.CUES))
    assert len(clips) + len(drops) == len(cues)
    assert_sound(clips, duration_ns)


@given(st.integers(1, 100 * SECOND), st.floats(0.05, 20), st.floats(0.05, 20))
def test_windows_lie_in_the_asset_and_cover_what_they_can(duration_ns: int, length_s: float, hop_s: float) -> None:
    config = ClipsConfig(rule=ClipRule.WINDOW, length_s=length_s, hop_s=hop_s)
    clips, drops = cut(asset(duration_ns), config)
    assert_sound(clips, duration_ns)
    assert bool(clips) != bool(drops)
    window_ns, hop_ns = round(length_s * SECOND), round(hop_s * SECOND)
    assert [clip.start_ns for clip in clips] == [number * hop_ns for number in range(len(clips))]
    assert all(clip.end_ns - clip.start_ns == window_ns for clip in clips[:-1])
    assert all(2 * (clip.end_ns - clip.start_ns) >= window_ns for clip in clips)
    full = max(0, (duration_ns - window_ns) // hop_ns + 1)
    assert full <= len(clips) <= full + 1


def assert_sound(clips: tuple[Clip, ...], duration_ns: int) -> None:
    assert all(0 <= clip.start_ns < clip.end_ns <= duration_ns for clip in clips)
    assert len({clip.key for clip in clips}) == len(clips)
    assert list(clips) == sorted(clips, key=lambda clip: (clip.start_ns, clip.end_ns))


def sound(duration_ns: int) -> Asset:
    return Asset(asset_id="0" * 64, source_id="a", streams=(stream(Modality.AUDIO, duration_ns, file="a.wav"),))


def test_a_shot_ends_where_the_next_begins() -> None:
    marks = Marks(cuts_ns=(2 * SECOND, 5 * SECOND))
    clips, drops = cut(asset(8 * SECOND), ClipsConfig(rule=ClipRule.SHOTS), marks)
    assert spans(clips) == [(0, 2), (2, 5), (5, 8)] and drops == ()
    assert spans(cut(asset(8 * SECOND), ClipsConfig(rule=ClipRule.SHOTS))[0]) == [(0, 8)]


def test_short_shots_and_what_has_no_pictures_are_dropped_with_a_reason() -> None:
    config = ClipsConfig(rule=ClipRule.SHOTS, min_length_s=1.0)
    clips, drops = cut(asset(4 * SECOND), config, Marks(cuts_ns=(SECOND // 2,)))
    assert spans(clips) == [(0.5, 4)] and [drop.code for drop in drops] == ["clip_too_short"]
    assert [drop.code for drop in cut(sound(SECOND), config)[1]] == ["no_video"]


def test_speech_within_the_clock_only() -> None:
    marks = Marks(speech_ns=((SECOND, 2 * SECOND), (3 * SECOND, 9 * SECOND)))
    assert spans(cut(sound(4 * SECOND), ClipsConfig(rule=ClipRule.SPEECH), marks)[0]) == [(1, 2), (3, 4)]
    for silent, code in ((sound(SECOND), "no_speech"), (asset(SECOND), "no_audio")):
        clips, drops = cut(silent, ClipsConfig(rule=ClipRule.SPEECH))
        assert clips == () and [drop.code for drop in drops] == [code]


def test_clips_are_cut_again() -> None:
    marks = Marks(cuts_ns=(3 * SECOND,), speech_ns=((SECOND, 4 * SECOND),))
    windows = ClipsConfig(rule=ClipRule.SHOTS, then=ClipRule.WINDOW, length_s=2.0, hop_s=2.0)
    assert spans(cut(asset(5 * SECOND), windows, marks)[0]) == [(0, 2), (2, 3), (3, 5)]
    both = Asset(
        asset_id="0" * 64,
        source_id="a",
        streams=(stream(Modality.VIDEO, 5 * SECOND), stream(Modality.AUDIO, 5 * SECOND)),
    )
    spoken = ClipsConfig(rule=ClipRule.SHOTS, then=ClipRule.SPEECH)
    assert spans(cut(both, spoken, marks)[0]) == [(1, 3), (3, 4)]


def test_clips_that_are_too_long_are_cut_into_equal_parts() -> None:
    config = ClipsConfig(max_length_s=2.0)
    assert spans(cut(asset(2 * SECOND), config)[0]) == [(0, 2)]
    clips, _ = cut(asset(5 * SECOND), config)
    assert [clip.end_ns - clip.start_ns for clip in clips] == [1_666_666_666, 1_666_666_667, 1_666_666_667]
    assert clips[-1].end_ns == 5 * SECOND
    told = cut(asset(6 * SECOND, (cue(0, 4 * SECOND, "a word"),)), ClipsConfig(rule=ClipRule.CUES, max_length_s=2.0))[0]
    assert spans(told) == [(0, 2), (2, 4)] and {clip.text for clip in told} == {"a word"}


def test_the_same_range_is_one_clip() -> None:
    config = ClipsConfig(rule=ClipRule.WINDOW, length_s=2.0, hop_s=1.0, then=ClipRule.SHOTS)
    clips, drops = cut(asset(3 * SECOND), config, Marks(cuts_ns=(SECOND, 2 * SECOND)))
    assert spans(clips) == [(0, 1), (1, 2), (2, 3)] and [drop.code for drop in drops] == ["duplicate_clip"]


@pytest.mark.parametrize("then", [ClipRule.WHOLE, ClipRule.CUES])
def test_what_cuts_nothing_again_is_refused(then: ClipRule) -> None:
    with pytest.raises(ConfigError, match=r"clips\.then"):
        cut(asset(SECOND), ClipsConfig(then=then))


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_length_s"):
        cut(asset(3600 * SECOND), ClipsConfig(max_length_s=0.000001))
