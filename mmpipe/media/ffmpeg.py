"""The ffmpeg program: where it is, what it is never allowed, and how it is run so that all of it can be ended."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Any

from mmpipe.errors import ConfigError, SampleError
from mmpipe.media.guard import ALLOWED_CODECS, ALLOWED_FORMATS

# Of every input, which is named by a descriptor: file:/proc/self/fd/N.
INPUT_LIMITS: dict[str, Any] = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(ALLOWED_FORMATS),
    "codec_whitelist": ",".join(ALLOWED_CODECS),
    "max_alloc": 268_435_456,
    "max_streams": 64,
    "threads": 2,
}
SWITCHES = ("-nostdin", "-hide_banner", "-v", "error", "-y")
_PR_SET_PDEATHSIG = 1
_ANSWER_S = 30.0


def find_ffmpeg() -> str:
    """Return the ffmpeg of the path, else the one that comes with imageio-ffmpeg. Raise ConfigError."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise ConfigError("previews and filters need ffmpeg: put it on PATH, or install imageio-ffmpeg.") from error


def ffmpeg_version() -> str:
    """Return what the program calls its version: other versions filter otherwise. Raise ConfigError."""
    return _version_of(find_ffmpeg())


def run_ffmpeg(
    command: Sequence[str],
    descriptors: tuple[int, ...],
    timeout_s: float,
    what: str,
    *,
    code: str = "decode_error",
    file_bytes: int | None = None,
) -> None:
    """Run the program in a session of its own, which ends with this process; it says nothing but errors.

    Raise SampleError with `code` where it fails, takes too long or writes more than `file_bytes`.
    """
    libc = ctypes.CDLL(None)  # here: after the fork nothing may be loaded

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,  # so that all of it can be killed
        preexec_fn=bind,
    )
    try:
        _, said = process.communicate(timeout=timeout_s)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise SampleError(code, f"ffmpeg took longer than {timeout_s:g} s over a {what}") from error
        raise
    if process.returncode == -signal.SIGXFSZ:
        raise SampleError(code, f"ffmpeg wrote more than {file_bytes} bytes of a {what}")
    if process.returncode != 0:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit {process.returncode}"]
        raise SampleError(code, f"ffmpeg made no {what}: {last[0]}")


@cache
def _version_of(binary: str) -> str:
    try:
        done = subprocess.run([binary, "-version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_S)
        words = done.stdout.decode("utf-8", "replace").split()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{binary} cannot be run: {error}. Install imageio-ffmpeg, or another ffmpeg.") from error
    if done.returncode != 0 or words[:2] != ["ffmpeg", "version"]:
        raise ConfigError(f"{binary} does not say its version. Install imageio-ffmpeg, or another ffmpeg.")
    return words[2]
