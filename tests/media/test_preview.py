from __future__ import annotations

import os

import av
import pytest
from PIL import Image

from mmpipe.errors import SampleError
from mmpipe.media.preview import STILL_PX, PreviewKind, preview_arguments, render_preview
from mmpipe.types import Modality


def test_arguments_name_no_file_and_carry_the_guards(film, probe, opened, clip):
    film("-i 'x';.mp4", 5)
    source = opened(probe("-i 'x';.mp4"))[Modality.VIDEO]
    arguments = preview_arguments(7, 8, source.stream, clip(0.5, 1.5), PreviewKind.MP4)
    given = arguments[: arguments.index("-i")]
    assert {"-nostdin", "-protocol_whitelist", "-format_whitelist", "-max_alloc", "-ss", "-t"} <= set(given)
    assert arguments[arguments.index("-i") + 1] == "file:/proc/self/fd/7"
    assert "file:/proc/self/fd/8" in arguments and not any("x';" in argument for argument in arguments)


def test_previews_are_made(film, noise, probe, opened, clip, tmp_path):
    film("a.mp4", 50, wave_N=noise(2.0), sound_codec="aac")
    source = opened(probe("a.mp4"))[Modality.VIDEO]
    for kind in (PreviewKind.MP4, PreviewKind.WEBP, PreviewKind.STRIP, PreviewKind.STILL):
        target = tmp_path / f"preview.{kind}"
        render_preview(source.descriptor, source.stream, clip(0.4, 1.4), kind, target)
        if kind is PreviewKind.MP4:
            with av.open(str(target)) as made:
                assert {stream.type for stream in made.streams} == {"video", "audio"}
                assert abs(made.duration / 1e6 - 1.0) < 0.1
        else:
            with Image.open(target) as made:
                widths = {PreviewKind.STRIP: 6 * 120, PreviewKind.STILL: STILL_PX[0]}
                assert made.width == widths.get(kind, 320) and made.height <= 240
        with pytest.raises(FileExistsError):
            render_preview(source.descriptor, source.stream, clip(0.4, 1.4), kind, target)


def test_a_sound_is_heard_and_seen(film, noise, probe, opened, clip, tmp_path):
    film("a.mp4", 50, wave_N=noise(2.0), sound_codec="aac")
    source = opened(probe("a.mp4"))[Modality.AUDIO]
    heard, seen = tmp_path / "a.m4a", tmp_path / "a.png"
    render_preview(source.descriptor, source.stream, clip(0.4, 1.4), PreviewKind.SOUND, heard)
    render_preview(source.descriptor, source.stream, clip(0.4, 1.4), PreviewKind.SPECTRUM, seen)
    with av.open(str(heard)) as made:
        assert [stream.type for stream in made.streams] == ["audio"] and abs(made.duration / 1e6 - 1.0) < 0.1
    with Image.open(seen) as made:
        assert made.size == STILL_PX and len(made.convert("L").getcolors()) > 10
    with pytest.raises(SampleError, match="needs video"):
        render_preview(source.descriptor, source.stream, clip(0.4, 1.4), PreviewKind.STILL, tmp_path / "b.jpg")


def test_a_failed_preview_leaves_nothing(film, probe, opened, clip, tmp_path):
    film("a.mp4", 5)
    source = opened(probe("a.mp4"))[Modality.VIDEO]
    with open(tmp_path / "b.mp4", "wb+") as broken:
        broken.write(b"#EXTM3U\n")
        broken.flush()
        with pytest.raises(SampleError, match="decode_error"):
            render_preview(broken.fileno(), source.stream, clip(0, 1), PreviewKind.STRIP, tmp_path / "p.png")
    assert not os.path.exists(tmp_path / "p.png")
