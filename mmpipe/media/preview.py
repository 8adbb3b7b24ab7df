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
STILL_PX = (160, 120)
_MIDDLE = 0.4  # of a clip: the last frame of a short one must not be missed
_SOUND_BITS = "56k"


class PreviewKind(StrEnum):
    """What a preview is: a film with sound, a moving picture without, a strip of stills, one still; of sound alone
    what one hears, or a picture of it.
    """

    MP4 = "mp4"
    WEBP = "webp"
    STRIP = "png"
    STILL = "jpg"
    SOUND = "m4a"
    SPECTRUM = "spectrum.png"


_PLAIN = {"map_metadata": -1, "sn": None, "dn": None}
_OF_SOUND = (PreviewKind.SOUND, PreviewKind.SPECTRUM)


def render_preview(
    descriptor: int, stream: Stream, clip: Clip, kind: PreviewKind, target: Path, timeout_s: float = _TIMEOUT_S
) -> None:
    """Write a preview of a clip of a stream to a new file. Raise SampleError decode_error, and leave no file."""
    needs = Modality.AUDIO if kind in _OF_SOUND else Modality.VIDEO
    if stream.modality is not needs:
        raise SampleError("no_streams", f"a preview needs {needs}, {stream.file!r} is {stream.modality}")
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
    length_s = min((clip.end_ns - clip.start_ns) / NANOSECONDS_PER_SECOND, _MAX_PREVIEW_S)
    start_s = clip.start_ns / NANOSECONDS_PER_SECOND
    if kind is PreviewKind.STILL and stream.codec != GIF:  # the middle: films begin with black
        start_s, length_s = start_s + _MIDDLE * length_s, (1 - _MIDDLE) * length_s
    start, length = f"{start_s:.6f}", f"{length_s:.6f}"
    if kind in _OF_SOUND:
        return _sound_arguments(descriptor, output, stream, kind, start, length)
    return _picture_arguments(descriptor, output, stream, kind, start, length_s)


def _picture_arguments(
    descriptor: int, output: int, stream: Stream, kind: PreviewKind, start: str, length_s: float
) -> list[str]:
    import ffmpeg

    is_gif, length = stream.codec == GIF, f"{length_s:.6f}"
    part = {} if is_gif else {"ss": start, "t": length}
    source = ffmpeg.input(f"file:/proc/self/fd/{descriptor}", **part, **INPUT_LIMITS)
    picture = source[str(stream.track)]
    if is_gif:  # its pictures may last for long: a clip shows the one that was there before it began
        picture = picture.filter("fps", _GIF_TICKS).filter("trim", start=start, duration=length)
        picture = picture.filter("setpts", "PTS-STARTPTS").filter("fps", _GIF_RATE, round="up")
    width_px = {PreviewKind.STRIP: _STRIP_WIDTH_PX, PreviewKind.STILL: STILL_PX[0]}.get(kind, _WIDTH_PX)
    picture = picture.filter("scale", width_px, _height(width_px)).filter("setsar", 1)
    sink = f"file:/proc/self/fd/{output}"
    if kind is PreviewKind.MP4:
        coding = {
            "vcodec": "libx264",
            "preset": "veryfast",
            "pix_fmt": "yuv420p",
            "acodec": "aac",
            "movflags": "+faststart",
        }
        made = ffmpeg.output(picture, source["a:0?"], sink, f="mp4", **coding, **_PLAIN)
    elif kind is PreviewKind.WEBP:
        made = ffmpeg.output(
            picture.filter("fps", 10, round="up"), sink, f="webp", vcodec="libwebp_anim", loop=0, **_PLAIN
        )
    elif kind is PreviewKind.STILL:
        made = ffmpeg.output(
            picture.filter("scale", *STILL_PX, force_original_aspect_ratio="decrease"),
            sink,
            f="image2pipe",
            vcodec="mjpeg",
            pix_fmt="yuvj420p",
            **{"q:v": 5},
            vframes=1,
            **_PLAIN,
        )
    else:
        rate = f"{_STRIP_FRAMES / max(length_s, 0.04):.6f}"
        strip = picture.filter("fps", rate, round="up").filter("tile", f"{_STRIP_FRAMES}x1")
        made = ffmpeg.output(strip, sink, f="image2pipe", vcodec="png", vframes=1, **_PLAIN)
    return [*SWITCHES, *made.get_args()]


def _sound_arguments(
    descriptor: int, output: int, stream: Stream, kind: PreviewKind, start: str, length: str
) -> list[str]:
    import ffmpeg

    source = ffmpeg.input(f"file:/proc/self/fd/{descriptor}", ss=start, t=length, **INPUT_LIMITS)
    sound, sink = source[str(stream.track)], f"file:/proc/self/fd/{output}"
    if kind is PreviewKind.SOUND:
        coding = {"acodec": "aac", "audio_bitrate": _SOUND_BITS, "ac": 1, "movflags": "+faststart"}
        made = ffmpeg.output(sound, sink, f="mp4", **coding, vn=None, **_PLAIN)
    else:
        size = f"{STILL_PX[0]}x{STILL_PX[1]}"
        picture = sound.filter("showspectrumpic", s=size, legend=0, scale="log", mode="combined")
        made = ffmpeg.output(picture, sink, f="image2pipe", vcodec="png", vframes=1, **_PLAIN)
    return [*SWITCHES, *made.get_args()]


def _height(width_px: int) -> str:
    """Return FFmpeg's expression for the even height at which a film has the shape in which it is seen."""
    shape = f"if(between(sar,1/{MOST},{MOST}),dar,iw/ih)"
    return f"2*max(1,floor({width_px // 2}/({shape})+0.5))"
