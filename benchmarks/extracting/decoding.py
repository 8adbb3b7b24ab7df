"""Decoding in this process, against ffmpeg decoding into nothing, pipes of ffmpeg-python and a bare PyAV."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import common
from benchmarks.readers.race import Contestant, Visit
from mmpipe.config import LimitsConfig
from mmpipe.types import Clip, Modality, RawFile, Stream, VideoClip, VideoNeeds

_LIMITS = LimitsConfig()
_SIDE = common.SIDE_PX
ONE_A_SECOND = VideoNeeds(width_px=_SIDE, height_px=_SIDE, frame_rate=1.0)
EIGHT = VideoNeeds(width_px=_SIDE, height_px=_SIDE, num_frames=common.NUM_FRAMES)
KEY_FRAMES = VideoNeeds(width_px=_SIDE, height_px=_SIDE, only_keyframes=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A file and its video as a probe saw it."""

    path: Path
    video: Stream

    @property
    def seconds(self) -> float:
        """Return how long the video is."""
        return self.video.duration_ns / 1e9


def look(path: Path) -> Film:
    """Probe a file."""
    from mmpipe.media.probe import probe_file

    status = path.stat()
    file = RawFile(name=path.name, nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
    streams = probe_file(path.parent, file, _LIMITS).streams
    return Film(path=path, video=next(stream for stream in streams if stream.modality is Modality.VIDEO))


def decode(film: Film, need: VideoNeeds) -> VideoClip:
    """Decode a whole file as an extraction does."""
    from mmpipe.media.decode import MediaSource, decode_clips
    from mmpipe.media.guard import open_regular

    video = film.video
    clip = Clip(key="k", asset_id="a", start_ns=video.start_ns, end_ns=video.start_ns + video.duration_ns)
    descriptor = open_regular(film.path.parent, film.path.name)
    try:
        source = {Modality.VIDEO: MediaSource(descriptor=descriptor, stream=video)}
        (found,) = decode_clips(source, [clip], [need], (), _LIMITS)
    finally:
        os.close(descriptor)
    media = found.media[need]
    assert isinstance(media, VideoClip)
    return media


def film_contestants(film: Path, long_film: Path) -> list[Contestant]:
    """Return who decodes one file of 720p, and who takes 8 frames out of a long one; a rate is files a second."""
    return [
        Contestant(name="film_1fps", prepare=lambda: _ours([film], ONE_A_SECOND)),
        Contestant(name="film_null", prepare=lambda: _null([film])),
        Contestant(name="film_keyframes", prepare=lambda: _ours([film], KEY_FRAMES)),
        Contestant(name="film_pyav", prepare=lambda: _bare([film])),
        Contestant(name="long_8_frames", prepare=lambda: _ours([long_film], EIGHT)),
        Contestant(name="long_sequential", prepare=lambda: _sequential(long_film)),
    ]


def clip_contestants(suffix: str, files: Sequence[Path]) -> list[Contestant]:
    """Return who takes 8 frames out of each of many short files; a rate is clips a second."""
    return [
        Contestant(name=f"clips{suffix}", prepare=lambda: _ours(files, EIGHT)),
        Contestant(name=f"clips{suffix}_pipes", prepare=lambda: _pipes(files)),
        Contestant(name=f"clips{suffix}_system_pipes", prepare=lambda: _pipes(files, "ffmpeg")),
        Contestant(name=f"clips{suffix}_pyav", prepare=lambda: _bare(files)),
        Contestant(name=f"clips{suffix}_null", prepare=lambda: _null(files)),
    ]


def _ours(files: Sequence[Path], need: VideoNeeds) -> Visit:
    films = [look(path) for path in files]
    return lambda number: sum(1 for film in films if len(decode(film, need).frames))


def _null(files: Sequence[Path]) -> Visit:
    from imageio_ffmpeg import get_ffmpeg_exe

    def visit(number: int) -> int:
        for path in files:
            command = [get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-i", str(path), "-an", "-f", "null", "-"]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return len(files)

    return visit


def _pipes(files: Sequence[Path], program: str = "") -> Visit:
    """Take the frames as the documentation of ffmpeg-python shows: a process a clip, raw pictures through a pipe.

    The program is the static one that imageio-ffmpeg brings, which starts fast; or, by its name, the system's.
    """
    import ffmpeg
    from imageio_ffmpeg import get_ffmpeg_exe

    if program and not shutil.which(program):
        raise ValueError(f"the system has no program {program}")
    films = [look(path) for path in files]

    def visit(number: int) -> int:
        for film in films:
            frames = ffmpeg.input(str(film.path)).filter("fps", fps=common.NUM_FRAMES / film.seconds)
            scaled = frames.filter("scale", _SIDE, _SIDE).output("pipe:", format="rawvideo", pix_fmt="rgb24")
            out, _ = scaled.run(cmd=program or get_ffmpeg_exe(), capture_stdout=True, capture_stderr=True)
            if not out or len(out) % (_SIDE * _SIDE * 3):
                raise ValueError(f"{film.path}: {len(out)} bytes are no pictures")
        return len(films)

    return visit


def _bare(files: Sequence[Path]) -> Visit:
    """Decode every frame with PyAV and keep none: what no way in this process that decodes all can beat."""
    import av

    def visit(number: int) -> int:
        for path in files:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "NONE"
                stream.codec_context.thread_count = 1
                if not sum(1 for _ in container.decode(stream)):
                    raise ValueError(f"{path}: no frame")
        return len(files)

    return visit


def _sequential(path: Path) -> Visit:
    film = look(path)
    begin_ns, end_ns = film.video.start_ns, film.video.start_ns + film.video.duration_ns
    return lambda number: int(len(common.decode(str(path), begin_ns, end_ns)) == common.NUM_FRAMES)
