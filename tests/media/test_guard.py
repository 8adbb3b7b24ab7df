from __future__ import annotations

import os

import av
import pytest

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.guard import ALLOWED_CODECS, ALLOWED_FORMATS, open_container, open_decoder, self_test, write_canaries


def test_the_guard_proves_itself():
    self_test()


def test_the_canaries_do_open_without_the_guard(tmp_path):
    """A canary that never opens would prove nothing."""
    for canary in write_canaries(tmp_path):
        with av.open(f"file:{canary}", options={"protocol_whitelist": "file"}) as container:
            assert container.format.name in ("hls", "concat")


def test_the_lists_hold_names_that_ffmpeg_knows():
    """A misspelt name would be accepted in silence."""
    formats = {name for names in av.formats_available for name in names.split(",")}
    assert not set(ALLOWED_FORMATS) - formats
    assert not set(ALLOWED_CODECS) - av.codecs_available


def test_a_codec_that_is_not_on_the_list_is_refused(tmp_path):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        container.mux(stream.encode(av.VideoFrame(16, 16, "rgb24")))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with (
            open_container(descriptor, LimitsConfig()) as container,
            pytest.raises(SampleError, match=r"format_not_allowed.*png"),
        ):
            open_decoder(container.streams[0], LimitsConfig())
    finally:
        os.close(descriptor)
