"""Let FFmpeg say what is wrong with a file: on the standard error of a worker, which its parent reads."""

from __future__ import annotations


def let_ffmpeg_speak() -> None:
    """Have FFmpeg print its errors by itself: for Python's logging its threads would need the interpreter's lock."""
    import av.logging

    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.ERROR)
