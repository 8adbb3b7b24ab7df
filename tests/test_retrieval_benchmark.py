"""The benchmark of retrieval runs whole on a few utterances, and its figures are those of the answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.grid_retrieval import CORPUS, REFERENCE, difference, row
from mmpipe.evaluate.answers.matches import MatchAnswers

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "quality" / "grid_retrieval.py"


def made(noise: float, clips: int = 40) -> MatchAnswers:
    random = np.random.default_rng(2)
    items_ND = random.normal(size=(clips, 6))
    keys = [f"k{n:02}" for n in range(clips)]
    queries_ND = items_ND + noise * random.normal(size=items_ND.shape)
    return MatchAnswers.found(keys, keys, np.arange(clips), queries_ND, items_ND)


def test_a_row_is_the_mean_over_seeds_and_a_difference_is_paired() -> None:
    near, far = made(0.1), made(2.0)
    shown = row("it", [near, far])
    assert shown["mrr"] == pytest.approx((near.worth + far.worth) / 2) and shown["mrr_by_seed"][1] == far.worth
    assert shown["r@1"] == pytest.approx((shown["query r@1"] + shown["item r@1"]) / 2)
    gain = difference("it", "mrr", 0, [near, near], far, 200)
    assert gain["gain"] == pytest.approx(near.worth - far.worth) and gain["low"] > 0
    none = difference("it", "r@1", None, [far, far], far, 200)
    assert (none["gain"], none["low"], none["high"], none["seed"]) == (0, 0, 0, None)


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="no ../shared/corpora/grid beside this checkout")
def test_it_runs_on_a_few_utterances_and_claims_nothing(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, SCRIPT, "--quick", "--lips", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["quick"] and set(result["met"].values()) == {None}
    assert set(result["cases"]) == {"sentences", "words", "sentences, with lips"}
    names = [each["name"] for each in result["cases"]["sentences, with lips"]["rows"]]
    assert {"audio-logmel@1", "video-hogdct@1", "concat", REFERENCE, "chance"} <= set(names)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("mmpipe-bench-")], "it leaves files behind"
