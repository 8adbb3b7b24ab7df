"""Prepare a track by FFmpeg's filters: a lossless file on the same clock, for the ordinary decode pass.

ffmpeg-python only builds the argument list. The input is a descriptor, the filters are of the allow-list (`filters`).
Sound becomes float wav, with silence in its gaps, so that sample n is at the track's start + n / rate; what filters
are late by is cut off in place. Pictures become FFV1 in a mov at microseconds, each with its own time stamp.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.decode import MediaSource
from mmpipe.media.ffmpeg import INPUT_LIMITS, SWITCHES, find_ffmpeg, run_ffmpeg
from mmpipe.media.filters import FilterStep, delay_of, fixed_parameters
from mmpipe.media.guard import open_container
from mmpipe.media.shown import SQUARE, pixel_aspect
from mmpipe.types import Modality

CODE = "prepare_failed"
_MICROSECONDS = 1_000_000
_TIME_SHARE = 0.8  # of the time for an asset, past which the worker itself is killed: so that this one says why
_EMPTY_WAV_BYTES = 128  # a header, and no sample


@contextmanager
def prepared_source(
    source: MediaSource, steps: Sequence[FilterStep], folder: Path, limits: LimitsConfig
) -> Iterator[MediaSource]:
    """Yield the track as filters leave it, in a file without a name. Raise SampleError prepare_failed."""
    stream = source.stream
    path = folder / f"prepared-{stream.digest[:16]}.{'wav' if stream.modality is Modality.AUDIO else 'mov'}"
    output = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)  # however this process ends, nothing is left
    try:
        arguments = prepare_arguments(source, output, steps, limits, is_square=_makes_square(source, steps, limits))
        run_ffmpeg(
            [find_ffmpeg(), *arguments],
            (source.descriptor, output),
            limits.seconds_per_asset * _TIME_SHARE,
            "rendition",
            code=CODE,
            file_bytes=limits.file_bytes,
        )
        nbytes = os.fstat(output).st_size
        if nbytes <= _EMPTY_WAV_BYTES:  # ffmpeg was seen to end well with nothing written
            raise SampleError(CODE, f"the filters leave nothing of the {stream.modality} of {stream.file!r}")
        yield MediaSource(descriptor=output, stream=replace(stream, track=0, file_nbytes=nbytes))
    finally:
        os.close(output)


def prepare_arguments(
    source: MediaSource, output: int, steps: Sequence[FilterStep], limits: LimitsConfig, is_square: bool = False
) -> list[str]:
    """Return ffmpeg's arguments, without the program: files by descriptor, nothing taken from names or tags.

    With `is_square` the pixels of a film count as square, whatever it was scaled to.
    """
    import ffmpeg

    stream = source.stream
    opened = ffmpeg.input(
        f"file:/proc/self/fd/{source.descriptor}",
        max_pixels=limits.pixels,
        t=f"{limits.duration_s:.3f}",
        **INPUT_LIMITS,
    )
    track = opened[str(stream.track)]
    sink = f"file:/proc/self/fd/{output}"
    plain: dict[str, Any] = {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact", "sn": None, "dn": None}
    if stream.modality is Modality.AUDIO:
        coding: dict[str, Any] = {"f": "wav", "acodec": "pcm_f32le", "flags": "+bitexact", "rf64": "auto"}
        made = ffmpeg.output(_sound(track, steps, stream.sample_rate_hz), sink, **coding, **plain)
    else:
        coding = {
            "f": "mov",
            "vcodec": "ffv1",
            "level": 3,
            "flags": "+bitexact",
            "fps_mode": "passthrough",
            "video_track_timescale": _MICROSECONDS,
            "enc_time_base": f"1:{_MICROSECONDS}",
        }
        picture = _picture(track, steps)
        if is_square:
            picture = picture.filter("setsar", 1)
        made = ffmpeg.output(picture, sink, **coding, **plain)
    return [*SWITCHES, "-filter_threads", "1", *made.get_args()]


def _makes_square(source: MediaSource, steps: Sequence[FilterStep], limits: LimitsConfig) -> bool:
    """Say whether a film is squeezed whose pixels are square: FFmpeg would note how to undo it, and so it would be."""
    if source.stream.modality is not Modality.VIDEO or not any(step.name == "scale" for step in steps):
        return False
    with open_container(source.descriptor, limits) as container:
        return pixel_aspect(container.streams[source.stream.track]) == SQUARE


def _sound(track: Any, steps: Sequence[FilterStep], rate_hz: int) -> Any:
    """Return the filters of sound: gaps filled first, and each delay taken out where it arises."""
    track = track.filter("aresample", **{"async": 1, "min_hard_comp": "0.04"})
    for step in steps:
        delay = delay_of(step, rate_hz)
        if delay:
            track = track.filter("aresample", rate_hz)  # the delay is in samples: headers may name another rate
            track = track.filter("apad", pad_len=delay)  # so that the end is pushed out, not lost
        track = _add(track, step, Modality.AUDIO)
        if delay:
            track = track.filter("atrim", start_sample=delay).filter("asetpts", "N/SR/TB")
        if step.name == "aresample":
            rate_hz = int(step.get("sample_rate"))
        elif step.name == "loudnorm":  # it gives 192 kHz
            track = track.filter("aresample", rate_hz)
    return track


def _picture(track: Any, steps: Sequence[FilterStep]) -> Any:
    for step in steps:
        track = _add(track, step, Modality.VIDEO)
    return track


def _add(track: Any, step: FilterStep, modality: Modality) -> Any:
    return track.filter(step.name, **dict(step.parameters), **fixed_parameters(step, modality))
