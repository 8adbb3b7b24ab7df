"""Render a clip for people to look at: ffmpeg-python only builds the argument list, a process of its own runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError, SampleError
from mmpipe.media.guard import ALLOWED_CODECS, ALLOWED_FORMATS
from mmpipe.types import NANOSECONDS_PER_SECOND, Clip, Modality, Stream

_TIMEOUT_S = 60.0
_WIDTH_PX = 320
_STRIP_FRAMES = 6
_STRIP_WIDTH_PX = 120  # per still: a strip is a thumbnail, and noise costs a PNG 3 bytes a pixel
_MAX_PREVIEW_S = 30.0
_INPUT_LIMITS: dict[str, Any] = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(ALLOWED_FORMATS),
    "codec_whitelist": ",".join(ALLOWED_CODECS),
    "max_alloc": 268_435_456,
    "max_streams": 64,
    "threads": 2,
}


class PreviewKind(StrEnum):
    """What a preview is: a film with sound, a moving picture without, or a strip of stills."""

    MP4 = "mp4"
    WEBP = "webp"
    STRIP = "png"


def render_preview(
    descriptor: int, stream: Stream, clip: Clip, kind: PreviewKind, target: Path, timeout_s: float = _TIMEOUT_S
) -> None:
    """Write a preview of a clip of a video stream to a new file. Raise SampleError decode_error, and leave no file."""
    if stream.modality is not Modality.VIDEO:
        raise SampleError("no_streams", f"a preview needs video, {stream.file!r} is {stream.modality}")
    binary = find_ffmpeg()
    output = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        arguments = preview_arguments(descriptor, output, stream, clip, kind)
        _run([binary, *arguments], (descriptor, output), timeout_s)
        if os.fstat(output).st_size == 0:  # ffmpeg was seen to end well with nothing written
            raise SampleError("decode_error", "ffmpeg wrote no preview")
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(output)


def preview_arguments(descriptor: int, output: int, stream: Stream, clip: Clip, kind: PreviewKind) -> list[str]:
    """Return ffmpeg's arguments, without the program: files by descriptor, nothing taken from names or tags."""
    import ffmpeg

    length_s = min((clip.end_ns - clip.start_ns) / NANOSECONDS_PER_SECOND, _MAX_PREVIEW_S)
    start_s = clip.start_ns / NANOSECONDS_PER_SECOND
    source = ffmpeg.input(f"file:/proc/self/fd/{descriptor}", ss=f"{start_s:.6f}", t=f"{length_s:.6f}", **_INPUT_LIMITS)
    width_px = _STRIP_WIDTH_PX if kind is PreviewKind.STRIP else _WIDTH_PX
    picture = source[str(stream.track)].filter("scale", width_px, -2)
    sink, plain = f"file:/proc/self/fd/{output}", {"map_metadata": -1, "sn": None, "dn": None}
    if kind is PreviewKind.MP4:
        coding = {
            "vcodec": "libx264",
            "preset": "veryfast",
            "pix_fmt": "yuv420p",
            "acodec": "aac",
            "movflags": "+faststart",
        }
        made = ffmpeg.output(picture, source["a:0?"], sink, f="mp4", **coding, **plain)
    elif kind is PreviewKind.WEBP:
        made = ffmpeg.output(picture.filter("fps", 10), sink, f="webp", vcodec="libwebp_anim", loop=0, **plain)
    else:
        rate = f"{_STRIP_FRAMES / max(length_s, 0.04):.6f}"
        strip = picture.filter("fps", rate, round="up").filter("tile", f"{_STRIP_FRAMES}x1")
        made = ffmpeg.output(strip, sink, f="image2pipe", vcodec="png", vframes=1, **plain)
    switches = ["-nostdin", "-hide_banner", "-v", "error", "-y"]
    return switches + list(made.get_args())


def find_ffmpeg() -> str:
    """Return the ffmpeg of the path, else the one that comes with imageio-ffmpeg. Raise ConfigError."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise ConfigError("previews need ffmpeg: put it on PATH, or install imageio-ffmpeg.") from error


def _run(command: list[str], descriptors: tuple[int, ...], timeout_s: float) -> None:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,  # so that all of it can be killed
    )
    try:
        _, said = process.communicate(timeout=timeout_s)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise SampleError("decode_error", f"ffmpeg took longer than {timeout_s:g} s over a preview") from error
        raise
    if process.returncode != 0:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit {process.returncode}"]
        raise SampleError("decode_error", f"ffmpeg made no preview: {last[0]}")
