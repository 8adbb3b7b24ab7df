"""The extraction benchmark runs on a handful of clips, and every ratio has a figure or the reason why not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.extracting.decoding import EIGHT, decode, look
from benchmarks.extracting.figures import RATIOS, device_share, figures, orchestration
from benchmarks.extracting.media import make_clips
from benchmarks.extracting.ours_job import per_shard_s
from benchmarks.extracting.stage import least_cosine, race_jobs
from benchmarks.peers import common
from benchmarks.readers.race import Outcome

REPOSITORY = Path(__file__).resolve().parent.parent
DECODED = {"decode_vs_null", "keyframes_vs_fps", "seek_vs_sequential", "vs_ffmpeg_python", "vs_ffmpeg_python_limit"}
GOALS = {
    "decode_vs_null": 0.85,
    "keyframes_vs_fps": 8.0,
    "seek_vs_sequential": 1.5,
    "vs_ffmpeg_python": 3.5,
    "vs_ffmpeg_python_h264": 3.5,
    "logmel_vs_librosa": 1.0,
    "logmel_vs_hf": 1.0,
    "vs_ceiling": 0.85,
    "two_workers": 1.8,
    "ray_vs_local": 0.9,
    "vs_daft": 1.15,
    "vs_ray_data": 1.8,
    "orchestration_share": 0.02,
    "memory_growth": 1.1,
    "device_busy": 0.9,
    "device_vs_bare": 0.85,
}


@pytest.mark.slow
def test_every_ratio_has_a_figure_or_a_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "benchmarks" / "extract.py", "--json", "--samples", "1", "--parts", "decode"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["goals"] == GOALS
    assert set(result["met"]) == set(GOALS)
    for name in DECODED:
        assert result["ratios"][name] > 0, (name, result["why"])
    for name, ratio in result["ratios"].items():
        assert (ratio is None) == (name in result["why"])
        assert ratio is not None or result["why"][name], name
    assert "not asked for" in result["why"]["vs_daft"]
    assert not list(tmp_path.iterdir()), "it leaves something behind"


def test_peers_see_the_frames_that_we_see(tmp_path: Path) -> None:
    film = look(next(make_clips(tmp_path, 1).glob("*.mp4")))
    begin_ns, end_ns = film.video.start_ns, film.video.start_ns + film.video.duration_ns
    frames = common.decode(str(film.path), begin_ns, end_ns)
    assert frames.shape == (common.NUM_FRAMES, common.SIDE_PX, common.SIDE_PX, 3)
    assert np.array_equal(frames, decode(film, EIGHT).frames)


def test_a_peer_that_fails_is_left_out_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    def ours() -> float:
        calls.append("ours")
        return 2.0

    def peer() -> float:
        calls.append("peer")
        raise ValueError("its embeddings are not ours")

    outcome = race_jobs({"ours": ours, "peer": peer}, lambda: 10, rounds=2)
    assert calls == ["ours", "peer", "ours"]
    assert outcome.per_wall_s == {"ours": [5.0, 5.0]}
    assert set(outcome.per_cpu_s) == {"ours"}
    assert outcome.left_out == {"peer": "ValueError: its embeddings are not ours"}


def test_embeddings_agree_or_they_do_not() -> None:
    one = {"a": np.array([1.0, 0.0]), "b": np.array([1.0, 1.0])}
    assert least_cosine(one, {"a": np.array([2.0, 0.0]), "b": np.array([1.0, 1.0])}) == pytest.approx(1.0)
    assert least_cosine(one, {"a": np.array([0.0, 1.0]), "b": np.array([1.0, 1.0])}) == pytest.approx(0.0)
    assert least_cosine(one, {"a": np.array([1.0, 0.0])}) == -1.0


def meter(worker: str, started_s: float, ended_s: float, work_s: float) -> dict[str, Any]:
    return {
        "worker": worker,
        "started_s": started_s,
        "ended_s": ended_s,
        "decode_s": work_s,
        "encode_s": 0.0,
        "write_s": 0.0,
    }


def test_what_a_shard_costs_beside_its_work() -> None:
    # Worker a: 9 s loading models count for nothing; then a gap of 0.1 s, and 0.2 s of its own beside 9.8 s of work.
    meters = [meter("a", 1.0, 20.0, 10.0), meter("a", 20.1, 30.1, 9.8), meter("b", 1.0, 20.0, 19.0)]
    cost_s = per_shard_s(meters, 0.5, 30.2)  # the parent: 0.5 s before the first and 0.6 s after the last
    assert cost_s == pytest.approx(0.3 + 1.1 / 3)
    assert per_shard_s(meters[:1], 0.0, 30.0) is None
    figure = orchestration([{"per_shard_s": 1.0}, {"per_shard_s": None}], "")
    assert figure.value == pytest.approx(1 / 61)
    assert figure.met
    assert orchestration([], "no such job").why == "no such job"


def test_devices_are_told_where_there_are_any() -> None:
    without = {"speed": {"device_idle_share": None}}
    figure = device_share("device_busy", [without], 0.9, lambda speed: speed["device_idle_share"])
    assert (figure.value, figure.met, figure.why) == (None, None, "there is no GPU here")


def test_every_goal_is_stated_once() -> None:
    found = figures(Outcome(), {}, None, "not measured")
    assert {figure.name: figure.goal for figure in found if figure.goal is not None} == GOALS
    assert all(figure.why for figure in found)
    assert len({ratio.name for ratio in RATIOS}) == len(RATIOS)
