"""A clip's row holds what applies to it and None elsewhere."""

from __future__ import annotations

import types
from dataclasses import asdict, fields
from typing import get_args, get_type_hints

import numpy as np
import polars as pl
import pytest

from mmpipe.signals.clip_signals import COLUMNS, AssetSignals, ClipSignals, clip_signals
from mmpipe.signals.loudness import LoudnessMeter
from mmpipe.signals.picture import PictureMeter

SECOND_NS = 1_000_000_000
TYPES = {float: pl.Float64, bool: pl.Boolean, int: pl.Int64, str: pl.String}


def asset() -> AssetSignals:
    pictures, loudness = PictureMeter(), LoudnessMeter(start_ns=SECOND_NS // 10)
    for place in range(100):
        pictures.push(np.full((9, 16, 3), 2 * place, np.uint8), place * SECOND_NS // 25)
    loudness.push(0.1 * np.sin(np.arange(4 * 16_000) * 2 * np.pi * 1000 / 16_000))
    return AssetSignals(
        pictures=pictures.finish(),
        cuts_ns=(SECOND_NS, 3 * SECOND_NS),
        loudness=loudness.finish(),
        speech_ns=((SECOND_NS, 2 * SECOND_NS),),
        damaged_share=0.25,
    )


def test_columns_are_the_fields_with_their_types() -> None:
    hints = get_type_hints(ClipSignals)
    plain = {name: get_args(hint)[0] if isinstance(hint, types.UnionType) else hint for name, hint in hints.items()}
    assert {field.name: TYPES[plain[field.name]] for field in fields(ClipSignals)} == dict(COLUMNS)
    rows = [asdict(clip_signals(asset(), 0, SECOND_NS, "set white")), asdict(clip_signals(AssetSignals(), 0, 0))]
    assert pl.DataFrame(rows, schema=dict(COLUMNS)).height == 2


def test_row_of_a_clip() -> None:
    row = clip_signals(asset(), 0, 2 * SECOND_NS, "the cat sat on the mat near the house")
    assert (row.duration_s, row.has_video, row.has_audio, row.has_image, row.has_text) == (2, True, True, False, True)
    assert row.loudness_lufs == pytest.approx(-23.0, abs=0.1)
    assert row.peak_dbfs == pytest.approx(-20, abs=0.1)
    assert (row.clipping_share, row.silence_share, row.speech_share) == (0, 0, 0.5)
    assert row.brightness == pytest.approx(49 / 255, abs=0.001)
    assert row.motion == pytest.approx(2 * 25 / 255, abs=0.001)
    assert (row.frozen_share, row.num_shots) == (0, 2)
    assert (row.text_characters, row.text_words, row.language) == (37, 9, "en")
    assert (row.av_offset_s, row.damaged_share) == (0.1, 0.25)


def test_an_image_has_a_look_but_no_motion() -> None:
    picture = PictureMeter()
    picture.push(np.full((9, 16, 3), 255, np.uint8), 0)
    row = clip_signals(AssetSignals(image=picture.finish()), 0, 0)
    assert (row.has_image, row.has_video, row.brightness) == (True, False, 1.0)
    assert (row.motion, row.black_share, row.num_shots, row.loudness_lufs, row.language) == (None,) * 5


def test_what_is_there_has_a_number_however_silent_and_still() -> None:
    pictures, loudness = PictureMeter(), LoudnessMeter()
    pictures.push(np.zeros((9, 16, 3), np.uint8), 0)
    loudness.push(np.zeros(16_000))
    row = clip_signals(AssetSignals(pictures=pictures.finish(), loudness=loudness.finish()), 0, SECOND_NS, "...")
    of_tracks = {"damaged_share"}  # of the asset as its files were read
    assert {name for name, value in asdict(row).items() if value is None} == of_tracks
    assert (row.loudness_lufs, row.peak_dbfs, row.speech_share) == (-70.0, -120.0, 0.0)
    assert (row.motion, row.frozen_share, row.num_shots, row.language) == (0.0, 1.0, 1, "")


def test_clip_beyond_the_streams_has_none_of_them() -> None:
    row = clip_signals(asset(), 50 * SECOND_NS, 51 * SECOND_NS, "  ")
    assert (row.has_video, row.has_audio, row.has_text) == (False, False, False)
    assert (row.speech_share, row.num_shots, row.brightness, row.text_words) == (None,) * 4


@pytest.mark.parametrize("end_ns", [5, 4])
def test_empty_clip_is_refused(end_ns: int) -> None:
    with pytest.raises(ValueError, match=f"a clip must end after it starts, got \\[5, {end_ns}\\) ns"):
        clip_signals(asset(), 5, end_ns)
