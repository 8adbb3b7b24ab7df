"""Media that the benchmark makes with ffmpeg's test sources: every file has pictures and sound of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from imageio_ffmpeg import get_ffmpeg_exe

CLIP_S, FILM_S = 4, 30
_OLD_S = 1_700_000_000  # a file as fresh as the run is looked at again


def make_clips(folder: Path, count: int) -> Path:
    """Make h264 clips of 4 s, 640x360, 25 pictures a second with sound, each with a caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        target = folder / f"clip-{number:04d}.mp4"
        _make(target, CLIP_S, f"testsrc2=size=640x360:rate=25,hue=h={number * 37 % 360}", 200 + 7 * number, crf=25)
        caption = folder / f"clip-{number:04d}.txt"
        caption.write_text(f"number {number} of a test source, with a tone of {200 + 7 * number} hertz\n")
    return folder


def make_film(folder: Path, seconds: int = FILM_S, height_px: int = 720) -> Path:
    """Make an h264 file of 16:9 with noise in it, as a camera's has, and a key frame at least every 10 s."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"film-{height_px}-{seconds}.mp4"
    size = f"{height_px * 16 // 9}x{height_px}"
    _make(target, seconds, f"testsrc2=size={size}:rate=25,noise=alls=6:allf=t", 440, crf=25)
    return target


def _make(target: Path, seconds: int, picture: str, hz: int, crf: int) -> None:
    sources = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=frequency={hz}:sample_rate=44100"]
    video = ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf), "-g", "250", "-pix_fmt", "yuv420p"]
    command = [get_ffmpeg_exe(), "-v", "error", "-y", *sources, "-t", str(seconds), *video, "-c:a", "aac", str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
