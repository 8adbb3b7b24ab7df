"""How many small files a second does the ingest take in, beside loops of plain tools over the same files?

Makes 10,000 files (wav, png, mp4, vtt; every one with bytes of its own) and takes them in through the command line, in
processes of their own: times include the start of Python and of the workers. The loops run one file after the other:
`ffmpeg -i` (the program that imageio-ffmpeg brings; it has no ffprobe), a bare `av.open` of wav and mp4, and sha256.
A ratio above 1 says how many times faster the ingest is for each file; it digests every stream as well, and commits.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from benchmarks.told import log, print_table
from mmpipe.store.layout import StoreLayout
from mmpipe.store.spine import read_spine

CORPUS, DT = "bench", "2026-11-20"
FILES_PER_FOLDER = 500
RATE_HZ = 8_000
LOOP_FILES = 200  # of which a loop of processes is timed
GOALS = {"files_per_s": 200.0}


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 files: under half a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        files = make_files(Path(folder) / "media", 1_000 if arguments.quick else 10_000)
        result = measure(Path(folder), files)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_table(result)


def measure(folder: Path, files: Sequence[Path]) -> dict[str, object]:
    """Take the files in twice, and run the loops."""
    config = folder / "mmpipe.toml"
    config.write_text(
        f'store = "{folder / "store"}"\n[corpora.{CORPUS}]\nroot = "{folder / "media"}"\nfeatures = ["audio-logmel"]\n'
    )
    media = [path for path in files if path.suffix in (".wav", ".mp4")]
    first_s, again_s = (take_in(folder, len(files)) for _ in range(2))
    sample = files[:: max(1, len(files) // LOOP_FILES)]
    sample_media = media[:: max(1, len(media) // LOOP_FILES)]
    ffmpeg_s = timed(run_ffmpeg, sample) / len(sample)
    open_s = timed(open_bare, sample_media) / len(sample_media)
    sha256_s = timed(digest, files) / len(files)
    ours_s = first_s / len(files)
    return {
        "benchmark": "ingest",
        "goals": GOALS,
        "ratios": {
            "vs_ffprobe_loop": ffmpeg_s / ours_s,
            "vs_bare_pyav_open": open_s / ours_s,
            "vs_sha256": sha256_s / ours_s,
        },
        "figures": {
            "files": len(files),
            "made_mib": sum(path.stat().st_size for path in files) / 2**20,
            "ingest_s": first_s,
            "files_per_s": len(files) / first_s,
            "nothing_new_s": again_s,
            "ffmpeg_i_ms": ffmpeg_s * 1e3,
            "bare_open_ms": open_s * 1e3,
            "sha256_ms": sha256_s * 1e3,
        },
        "setting": {"cpus": len(os.sched_getaffinity(0)), "machine": platform.machine(), "loop_files": len(sample)},
    }


def take_in(folder: Path, num_files: int) -> float:
    """Run `mmpipe ingest` in a process of its own and return the seconds; every file must be counted."""
    command = [sys.executable, "-m", "mmpipe.cli", "ingest", "--corpus", CORPUS, "--dt", DT]
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": _path()}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"ingest ended with {done.returncode}: {done.stderr[-2000:]}")
    num_clips = read_spine(StoreLayout(folder / "store"), CORPUS).height  # every file is an asset and a clip of its own
    if num_clips != num_files:
        raise SystemExit(f"{num_files} files made {num_clips} clips: {done.stdout[-2000:]}")
    log(f"{num_files} files: {seconds:.1f} s")
    return seconds


def _path() -> str:
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))))


def run_ffmpeg(path: Path) -> None:
    """Let the program look into a file, as ffprobe does."""
    command = [get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-i", str(path)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def open_bare(path: Path) -> None:
    """Open a file with PyAV and no options."""
    with av.open(str(path)) as container:
        assert container.streams, f"{path} has no streams"


def digest(path: Path) -> None:
    """Read a file and digest it."""
    hashlib.sha256(path.read_bytes()).digest()


def timed(act: Callable[[Path], None], files: Sequence[Path]) -> float:
    """Return how many seconds it takes to do something with every file."""
    started = time.perf_counter()
    for path in files:
        act(path)
    return time.perf_counter() - started


# --------------------------------------------------------------------------- files


def make_files(folder: Path, count: int) -> list[Path]:
    """Make a quarter of each kind; no two files have the same content."""
    shutil.rmtree(folder, ignore_errors=True)
    makers = {"wav": sound, "png": picture, "mp4": film, "vtt": captions}
    made = []
    for number in range(count):
        kind = list(makers)[number % len(makers)]
        path = folder / f"{number // FILES_PER_FOLDER:04d}" / f"{kind}-{number:06d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(makers[kind](number))
        os.utime(
            path, (1_700_000_000 + number, 1_700_000_000 + number)
        )  # a file as fresh as the run is looked at again
        made.append(path)
    log(f"{count} files made")
    return made


def sound(number: int) -> bytes:
    """Return half a second of noise as wav."""
    wave_N = np.random.default_rng(number).integers(-9_000, 9_000, RATE_HZ // 2).astype("<i2")
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(wave_N.tobytes())
    return data.getvalue()


def picture(number: int) -> bytes:
    """Return a small picture as png."""
    data = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(data, "PNG", compress_level=1)
    return data.getvalue()


def film(number: int) -> bytes:
    """Return half a second of film with sound as mp4."""
    data = io.BytesIO()
    generator = np.random.default_rng(number)
    with av.open(data, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("mpeg4", rate=8, options={"flags": "+bitexact"})
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(generator.integers(0, 255, (48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 8)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        wave_N = generator.uniform(-0.5, 0.5, RATE_HZ // 2).astype(np.float32)
        heard = av.AudioFrame.from_ndarray(wave_N[None], format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        container.mux(audio.encode(heard))
        container.mux(audio.encode(None))
    return data.getvalue()


def captions(number: int) -> bytes:
    """Return a caption file."""
    return f"WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nthe caption of number {number}\n".encode()


if __name__ == "__main__":
    main()
