"""The ratios of extraction that have goals, and figures that are no ratio of two contestants."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.readers.figures import Figure, Ratio, ratio_figure
from benchmarks.readers.race import Outcome

SHARD_S = 60.0  # what a shard takes where orchestration is judged

RATIOS = (
    Ratio(name="decode_vs_null", ours="film_1fps", others=("film_null",), goal=0.85),
    Ratio(name="decode_vs_bare_pyav", ours="film_1fps", others=("film_pyav",)),
    Ratio(name="keyframes_vs_fps", ours="film_keyframes", others=("film_1fps",), goal=8.0),
    Ratio(name="seek_vs_sequential", ours="long_8_frames", others=("long_sequential",), goal=1.5),
    Ratio(name="vs_ffmpeg_python", ours="clips", others=("clips_pipes",), goal=3.5),
    Ratio(name="vs_ffmpeg_python_limit", ours="clips_pyav", others=("clips_pipes",)),
    Ratio(name="vs_ffmpeg_python_system", ours="clips", others=("clips_system_pipes",)),
    Ratio(name="vs_ffmpeg_python_h264", ours="clips_h264", others=("clips_h264_pipes",), goal=3.5),
    Ratio(name="vs_ffmpeg_python_h264_limit", ours="clips_h264_pyav", others=("clips_h264_pipes",)),
    Ratio(name="vs_ffmpeg_python_h264_system", ours="clips_h264", others=("clips_h264_system_pipes",)),
    Ratio(name="logmel_vs_librosa", ours="logmel", others=("logmel_librosa",), goal=1.0),
    Ratio(name="logmel_vs_hf", ours="logmel", others=("logmel_hf",), goal=1.0),
    Ratio(name="vs_ceiling", ours="stage", others=("floor",), goal=0.85, wall=True),
    Ratio(name="two_workers", ours="two_warm", others=("one_warm",), goal=1.8, wall=True),
    Ratio(name="ray_vs_local", ours="ray_warm", others=("two_warm",), goal=0.9, wall=True),
    Ratio(name="vs_daft", ours="ours_job", others=("daft",), goal=1.15, wall=True),
    Ratio(name="vs_ray_data", ours="ours_job", others=("ray_data",), goal=1.8, wall=True),
    Ratio(name="vs_plain", ours="ours_job", others=("plain",), wall=True),
)


def figures(
    outcome: Outcome, told: Mapping[str, Sequence[Mapping[str, Any]]], growth: float | None, why_no_growth: str
) -> list[Figure]:
    """Return every ratio, and what jobs told of themselves."""
    return [
        *(ratio_figure(ratio, outcome) for ratio in RATIOS),
        orchestration(told.get("two_warm", ()), outcome.left_out.get("two_warm", "not measured")),
        Figure(name="memory_growth", value=growth, goal=1.1, at_most=True, why=why_no_growth),
        device_share("device_busy", told.get("two_warm", ()), 0.9, _busy),
        device_share("device_vs_bare", told.get("two_warm", ()), 0.85, _of_bare),
    ]


def orchestration(told: Sequence[Mapping[str, Any]], why: str) -> Figure:
    """Return which share of the time is neither decoding nor encoding nor writing, were shards of a minute."""
    costs = [one["per_shard_s"] for one in told if one["per_shard_s"] is not None]
    shares = [max(0.0, cost) / (SHARD_S + max(0.0, cost)) for cost in costs]
    return _median("orchestration_share", shares, 0.02, True, why if not told else "a worker made one shard alone")


def device_share(name: str, told: Sequence[Mapping[str, Any]], goal: float, of: Any) -> Figure:
    """Return what jobs told of their devices."""
    shares = [share for one in told if (share := of(one["speed"])) is not None]
    return _median(name, shares, goal, False, "there is no GPU here" if told else "not measured")


def _busy(speed: Mapping[str, Any]) -> float | None:
    idle = speed["device_idle_share"]
    return None if idle is None else 1 - float(idle)


def _of_bare(speed: Mapping[str, Any]) -> float | None:
    if speed["device_idle_share"] is None or not speed["encoder_ceiling"]:
        return None
    return float(speed["clips_per_s"]) / float(speed["encoder_ceiling"])


def _median(name: str, values: Sequence[float], goal: float, at_most: bool, why: str) -> Figure:
    if not values:
        return Figure(name=name, value=None, goal=goal, at_most=at_most, why=why)
    return Figure(
        name=name, value=statistics.median(values), low=min(values), high=max(values), goal=goal, at_most=at_most
    )
