"""The only ways in which raw bytes are opened: no links, no names for FFmpeg, no format that names other files.

The options are those that were tested against hostile files. Two traps decide their form: FFmpeg's `protocol_whitelist`
alone lets a playlist named `.mp4` open other local files, and a misspelt option is accepted in silence: so `self_test`.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmpipe.config import LimitsConfig
from mmpipe.errors import ConfigError, SampleError
from mmpipe.io import unescape_name

ALLOWED_FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "gif"),
    *("mp3", "wav", "w64", "flac", "ogg", "aac", "aiff", "caf", "amr"),
)
# Decoders by FFmpeg's own names. A container may name any of several hundred; these are the well-kept ones in use.
ALLOWED_CODECS = (
    *("h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "h263", "h263p", "flv"),
    *("msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "wmv3", "vc1", "mjpeg", "prores", "dnxhd", "ffv1", "theora", "dvvideo"),
    "gif",
    *("aac", "aac_latm", "mp2", "mp2float", "mp3", "mp3float", "ac3", "eac3", "opus", "vorbis", "flac", "alac"),
    *("amrnb", "amrwb", "wmav1", "wmav2", "wmapro", "wmalossless", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt"),
    *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw"),
)
_PROBE_BYTES = 5_000_000
_ANALYZE_MICROSECONDS = 10_000_000
_OGG_FIRST_PAGE = b"OggS\x00\x02"


def open_regular(root: Path, name: str) -> int:
    """Open a corpus file by its escaped name and return the descriptor, which the caller closes.

    No component may be a link, `.` or `..`; the file must be a regular one. Raise SampleError with code
    outside_root, not_regular or unreadable. A FIFO does not block.
    """
    parts = unescape_name(name).split(b"/")
    if any(part in (b"", b".", b"..") for part in parts):
        raise SampleError("outside_root", f"the name {name!r} does not stay below the corpus folder")
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = _open_at(part, os.O_DIRECTORY, directory, name)
            os.close(directory)
            directory = inner
        descriptor = _open_at(parts[-1], os.O_NONBLOCK, directory, name)
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SampleError("not_regular", f"{name!r} is not a regular file")
    return descriptor


def _open_at(part: bytes, flags: int, directory: int, name: str) -> int:
    try:
        return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENODEV):
            raise SampleError("not_regular", f"{name!r} is, or lies behind, a link or a device") from error
        raise SampleError("unreadable", f"{name!r} cannot be opened: {error.strerror}") from error


# --------------------------------------------------------------------------- FFmpeg


@contextmanager
def open_container(descriptor: int, limits: LimitsConfig) -> Iterator[Any]:
    """Open a container behind a descriptor with the production options; FFmpeg never sees a name.

    Raise SampleError with code format_not_allowed, not_media or limit_streams.
    """
    import av.error

    try:
        container = _open_url(f"file:/proc/self/fd/{descriptor}", limits)
    except av.error.ArgumentError as error:  # what the format list answers
        raise SampleError("format_not_allowed", "a format that is not read here") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if _claims_many_streams(descriptor, limits):
            raise SampleError("limit_streams", f"more than {limits.streams} streams are announced") from error
        raise SampleError("not_media", f"not a media file that can be opened: {_reason(error)}") from error
    with container:
        if len(container.streams) > limits.streams:
            raise SampleError("limit_streams", f"{len(container.streams)} streams, allowed are {limits.streams}")
        yield container


def open_decoder(stream: Any, limits: LimitsConfig) -> Any:
    """Set up a stream's decoder: allow-list, pixel limit, one thread. Raise SampleError format_not_allowed."""
    from av.codec.context import Flags

    context = stream.codec_context
    if context is None or context.codec.name not in ALLOWED_CODECS:
        what = "unknown" if context is None else repr(context.codec.name)
        raise SampleError("format_not_allowed", f"track {stream.index} has the codec {what}: not decoded here")
    # Ignored by the container's own options: a decoder knows its limit only from its context.
    context.options = {"max_pixels": str(limits.pixels)}
    context.thread_type = "NONE"  # frame threads cost 15-30 % CPU; workers are the parallelism
    # Broken pictures must come out, marked, to be counted: by default decoders swallow them.
    context.flags |= Flags.output_corrupt
    return context


def _open_url(url: str, limits: LimitsConfig) -> Any:
    import av

    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(ALLOWED_FORMATS),
        "codec_whitelist": ",".join(ALLOWED_CODECS),  # for the decoders that FFmpeg runs while it looks for streams
        "max_streams": str(limits.streams + 1),
        "probesize": str(_PROBE_BYTES),
        "analyzeduration": str(_ANALYZE_MICROSECONDS),
    }
    return av.open(url, mode="r", options=options, metadata_errors="replace")


def _claims_many_streams(descriptor: int, limits: LimitsConfig) -> bool:
    """Tell an Ogg file of too many streams from a broken one: FFmpeg gives the same error for both."""
    return os.pread(descriptor, 1 << 20, 0).count(_OGG_FIRST_PAGE) > limits.streams


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


# --------------------------------------------------------------------------- self test


def self_test() -> None:
    """Prove the production options once per process: they refuse a playlist and a list of files, and open a sound.

    Raise ConfigError where they do not.
    """
    limits = LimitsConfig()
    with tempfile.TemporaryDirectory() as folder:
        canaries = write_canaries(Path(folder))
        for canary in canaries:
            if _opens(f"file:{canary}", limits):
                raise ConfigError(
                    f"the media guard is open: a {canary.suffix} file could make FFmpeg read other files. "
                    "This build of PyAV does not honour format_whitelist; install the pinned one."
                )
        sound = os.open(canaries[0].with_name("sound.wav"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            with open_container(sound, limits) as container:
                num_streams = len(container.streams)
        except SampleError as error:
            raise ConfigError(
                f"the media guard refuses a plain wav file ({error}); install the pinned PyAV."
            ) from error
        finally:
            os.close(sound)
        if num_streams != 1:
            raise ConfigError(f"PyAV finds {num_streams} streams in a plain wav file; install the pinned PyAV.")


def write_canaries(folder: Path) -> tuple[Path, ...]:
    """Write files that FFmpeg would follow to `sound.wav` and `sound.mp3` beside them, were it allowed to."""
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16_000))
    # A silent MPEG layer 2 frame, 48 kHz mono, is 96 bytes: its header and zeros.
    (folder / "sound.mp3").write_bytes((b"\xff\xfd\x14\xc4" + bytes(92)) * 200)
    playlist, listing = folder / "canary.m3u8", folder / "canary.ffconcat"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:4,\nsound.mp3\n#EXT-X-ENDLIST\n")
    listing.write_text("ffconcat version 1.0\nfile sound.wav\n")
    return playlist, listing


def _opens(url: str, limits: LimitsConfig) -> bool:
    import av.error

    with suppress(av.error.FFmpegError, OSError, ValueError):
        _open_url(url, limits).close()
        return True
    return False
