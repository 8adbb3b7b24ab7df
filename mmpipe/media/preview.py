"""Render a clip for people to look at: ffmpeg-python only builds the argument list, a process of its own runs it."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

from mmpipe.errors import SampleError
from mmpipe.media.ffmpeg import INPUT_LIMITS, SWITCHES, find_ffmpeg, run_ffmpeg
from mmpipe.media.gifs import GIF
from mmpipe.media.shown import MOST
from mmpipe.types import NANOSECONDS_PER_SECOND, Clip, Modality, Stream

_TIMEOUT_S = 60.0
_WIDTH_PX = 320
_STRIP_FRAMES = 6
_STRIP_WIDTH_PX = 120  # per still: a strip is a thumbnail, and noise costs a PNG 3 bytes a pixel
_MAX_PREVIEW_S = 30.0
_GIF_TICKS = 100  # in a second: its clock knows no finer
_GIF_RATE = 25


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
        run_ffmpeg([binary, *arguments], (descriptor, output), timeout_s, "preview")
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
    start, length = f"{start_s:.6f}", f"{length_s:.6f}"
    is_gif = stream.codec == GIF
    part = {} if is_gif else {"ss": start, "t": length}
    source = ffmpeg.input(f"file:/proc/self/fd/{descriptor}", **part, **INPUT_LIMITS)
    picture = source[str(stream.track)]
    if is_gif:  # its pictures may last for long: a clip shows the one that was there before it began
        picture = picture.filter("fps", _GIF_TICKS).filter("trim", start=start, duration=length)
        picture = picture.filter("setpts", "PTS-STARTPTS").filter("fps", _GIF_RATE, round="up")
    width_px = _STRIP_WIDTH_PX if kind is PreviewKind.STRIP else _WIDTH_PX
    picture = picture.filter("scale", width_px, _height(width_px)).filter("setsar", 1)
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
        made = ffmpeg.output(
            picture.filter("fps", 10, round="up"), sink, f="webp", vcodec="libwebp_anim", loop=0, **plain
        )
    else:
        rate = f"{_STRIP_FRAMES / max(length_s, 0.04):.6f}"
        strip = picture.filter("fps", rate, round="up").filter("tile", f"{_STRIP_FRAMES}x1")
        made = ffmpeg.output(strip, sink, f="image2pipe", vcodec="png", vframes=1, **plain)
    return [*SWITCHES, *made.get_args()]


def _height(width_px: int) -> str:
    """Return FFmpeg's expression for the even height at which a film has the shape in which it is seen."""
    shape = f"if(between(sar,1/{MOST},{MOST}),dar,iw/ih)"
    return f"2*max(1,floor({width_px // 2}/({shape})+0.5))"
