"""The comparison with published figures runs whole on made files, and claims nothing from them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.stats import t

from benchmarks.quality.published import ROWS, main, over_seeds

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "quality" / "published.py"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.run([sys.executable, SCRIPT, *words], env=environment, capture_output=True, text=True)


def test_it_runs_on_made_files_and_says_that_they_show_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "--quick", "--seeds", "2", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["quick"] and "mosi, lmf" in result["source"] and "20 test clips" in result["ours"]
    accuracy, f1 = result["figures"]
    assert (accuracy["name"], accuracy["theirs"], f1["theirs"]) == ("Acc_3", 74.11, 72.5)
    assert len(accuracy["by_seed"]) == 2 and accuracy["low"] <= accuracy["mean"] <= accuracy["high"]
    assert all("standing" not in figure for figure in result["figures"])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("mmpipe-bench-")], "it leaves files behind"


def test_the_score_itself_is_regressed_as_theirs_is(tmp_path: Path) -> None:
    done = run(tmp_path, "--quick", "--seeds", "2", "--json", "--row", "mosi-lmf-score")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [figure["name"] for figure in result["figures"]] == ["Non0_acc_2", "Corr"]
    assert [figure["theirs"] for figure in result["figures"]] == [79.18, 65.10] and "Regression" in result["source"]
    assert all(-100 <= value <= 100 for figure in result["figures"] for value in figure["by_seed"])


@pytest.mark.parametrize("words", [(), ("--quick", "--from", "x"), ("--quick", "--seeds", "1")])
def test_data_are_named_or_made(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["published.py", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "give the data with --from" in capsys.readouterr().err


def test_the_interval_is_students_over_seeds() -> None:
    figure = over_seeds("Acc_3", 74.11, [0.70, 0.72, 0.74])
    half = t.ppf(0.975, 2) * 2 / 3**0.5
    assert (figure.mean, figure.high - figure.mean) == (pytest.approx(72), pytest.approx(half))
    assert figure.standing == "theirs lies in the interval"
    assert over_seeds("x", 60.0, [0.70, 0.72, 0.74]).standing.startswith("ours is above")
    assert over_seeds("x", 90.0, [0.70, 0.72, 0.74]).standing.startswith("theirs lies above")


def test_every_row_names_a_fusion_that_there_is() -> None:
    from mmpipe.fusion.registry import fusion_names

    assert {row.fusion for row in ROWS.values()} <= set(fusion_names())
