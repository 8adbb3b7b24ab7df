"""The reader benchmark runs whole on a handful of clips, and says who could not run and why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.readers.figures import Ratio, ratio_figure
from benchmarks.readers.race import Contestant, Visit, race

REPOSITORY = Path(__file__).resolve().parent.parent
OURS_ALONE = {"vs_memcpy", "vs_mmap", "vs_parquet", "one_sample_us", "sequence_disk_vs_raw"}
PEERS = {
    "vs_webdataset",
    "torch_vs_webdataset_loader",
    "torch_vs_parquet",
    "torch_vs_lance",
    "torch_vs_litdata",
    "write_vs_tarwriter",
}


@pytest.mark.slow
def test_every_ratio_has_a_figure_or_a_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "benchmarks" / "reader.py", "--quick", "--json", "--samples", "100"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["goals"]) == set(result["met"]) == OURS_ALONE | PEERS
    assert result["setting"]["clips"] == 100
    for name in OURS_ALONE:
        assert result["ratios"][name] > 0, name
    for name in PEERS:  # any of which may not be installed here
        ratio, reasons = result["ratios"][name], result["left_out"].values()
        assert ratio or any("is not installed" in why for why in reasons), (name, result["left_out"])
    for rates in ("samples_per_cpu_s", "samples_per_wall_s"):
        assert {name for name, rate in result[rates].items() if rate is None} <= set(result["left_out"])
    assert not list(tmp_path.iterdir()), "it leaves something behind"


def counting(name: str, seen: list[str], fails_in: int = -1) -> Contestant:
    def prepare() -> Visit:
        def visit(number: int) -> int:
            seen.append(f"{name}{number}")
            if number == fails_in:
                raise OSError("the disk is full")
            return 10

        return visit

    return Contestant(name=name, prepare=prepare, tidy=lambda: seen.append(f"{name} tidied"))


def test_rounds_are_interleaved_and_the_first_does_not_count() -> None:
    seen: list[str] = []
    outcome = race([counting("a", seen), counting("b", seen)], rounds=2)
    assert [one for one in seen if "tidied" not in one] == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert seen.count("a tidied") == 3
    assert {name: len(rates) for name, rates in outcome.per_cpu_s.items()} == {"a": 2, "b": 2}
    assert not outcome.left_out


def test_who_fails_is_left_out_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> Visit:
        import a_package_that_nobody_has  # noqa: F401

        raise AssertionError

    absent = Contestant(name="absent", prepare=missing)
    outcome = race([counting("a", []), counting("late", [], fails_in=2), absent], rounds=2)
    assert set(outcome.per_cpu_s) == {"a"}
    assert outcome.left_out == {
        "late": "OSError: the disk is full",
        "absent": "a_package_that_nobody_has is not installed",
    }
    figure = ratio_figure(Ratio(name="a_vs_b", ours="a", others=("late", "absent"), goal=2.0), outcome)
    assert (figure.value, figure.met) == (None, None)
    assert figure.why == "late: OSError: the disk is full; absent: a_package_that_nobody_has is not installed"


def test_a_ratio_is_the_median_of_rounds_with_its_spread() -> None:
    outcome = race([], rounds=1)
    outcome.per_cpu_s.update(ours=[10.0, 20.0, 30.0], slow=[5.0, 5.0, 5.0], fast=[1.0, 20.0, 10.0])
    figure = ratio_figure(Ratio(name="r", ours="ours", others=("slow", "fast"), goal=3.0), outcome)
    assert (figure.low, figure.value, figure.high) == (1.0, 2.0, 3.0)
    assert figure.met is False
