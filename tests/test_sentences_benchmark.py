"""The benchmark of sentences runs whole on a few utterances, and claims nothing from them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.grid_sentences import CORPUS, figure
from mmpipe.evaluate.answers.texts import TextAnswers

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "quality" / "grid_sentences.py"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # One thread: beside another test two would only wait for each other.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, SCRIPT, *words], env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"needs the corpus at {CORPUS}")
def test_it_runs_on_a_few_utterances(tmp_path: Path) -> None:
    done = run(tmp_path, "--quick", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["quick"] and result["utterances"] == 24
    assert [row["name"] for row in result["figures"]] == ["audio-logmel@1", "video-hogdct@1", "early_concat"]
    for row in result["figures"]:
        assert row["low"] <= row["word_error_rate"] <= row["high"]
        parts = row["substitutions"] + row["deletions"] + row["insertions"]
        assert row["word_error_rate"] == pytest.approx(parts) == pytest.approx(row["by_seed"][0])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("mmpipe-bench-")], "it leaves files behind"


def test_a_corpus_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--from", str(tmp_path))
    assert done.returncode == 1 and "no GRID at" in done.stderr


def test_the_figure_is_of_the_first_seed_and_tells_the_others() -> None:
    truth = ["bin blue at f two now", "lay red by c one soon"]
    seeds = [[truth[0], "lay red by c two soon"], ["", ""]]
    answers = [
        TextAnswers(keys=("a", "b"), groups=("a", "b"), texts_N=np.array(truth), written_N=np.array(written))
        for written in seeds
    ]
    found = figure("both", answers)
    assert found.by_seed == (pytest.approx(1 / 12), 1.0)
    assert found.word_error_rate == pytest.approx(1 / 12) == pytest.approx(found.substitutions)
    assert (found.low, found.high, found.exact) == (0.0, pytest.approx(1 / 6), 0.5)
