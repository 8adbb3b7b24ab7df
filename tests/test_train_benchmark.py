"""The training benchmark runs whole on a handful of clips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def test_every_ratio_has_a_figure(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "benchmarks" / "train.py", "--quick", "--json", "--samples", "100"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    names = {"epoch_read_vs_memory", "step_time_vs_bare_concat", "step_time_vs_bare_transformer"}
    assert set(result["goals"]) == set(result["met"]) == set(result["ratios"]) == names
    assert set(result["at_most"]) == names - {"epoch_read_vs_memory"}
    assert all(ratio > 0 for ratio in result["ratios"].values()), result["left_out"]
    assert result["epoch_of_100000_s"] > 0 and not result["left_out"]
    assert result["setting"]["clips"] == 100
    assert not list(tmp_path.iterdir()), "it leaves something behind"
