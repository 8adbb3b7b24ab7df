"""The benchmarks of quality count, compare and tell what they should; on the real corpora they run whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.av_digits_fusion import few_pairs, strongest_plain, with_policy, without_leading
from benchmarks.quality.av_digits_fusion import main as digits_main
from benchmarks.quality.av_digits_fusion import settings as digits_settings
from benchmarks.quality.folds import LATE, Trial, case_table, compare, difference, linear_probabilities, worst
from benchmarks.quality.grid_words import BABBLE_DB, CASES, figures
from benchmarks.quality.grid_words import main as words_main
from benchmarks.quality.grid_words import report as words_report
from benchmarks.quality.grid_words import settings as words_settings
from mmpipe.config import FewGroups

SCRIPTS = Path(__file__).resolve().parent.parent / "benchmarks" / "quality"
GROUPS = tuple(f"g{n // 4}" for n in range(80))


def right(share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(80) < share


def trial(seed: int, released: str = "mix", **correct: np.ndarray) -> Trial:
    said = {"ear": right(0.5, 1), "eye": right(0.4, 2), "mix": right(0.9, 3 + seed), **correct}
    return Trial(
        seed=seed,
        keys=tuple(map(str, range(80))),
        groups=GROUPS,
        correct=said,
        fused=("mix",),
        status="candidate",
        judged="mix",
        released=released,
        sentence="It is said.",
    )


# --------------------------------------------------------------------------- differences


def test_a_difference_is_paired_and_resamples_groups() -> None:
    gain_N = np.repeat([1.0, 0.0], 40)  # ten groups gain, ten do not
    found = difference("a", "b", None, gain_N, GROUPS, 4000)
    assert found.points == 50
    half = 100 * 1.96 * 0.5 / 20**0.5  # of a mean over 20 groups
    assert (found.low, found.high) == (pytest.approx(50 - half, abs=2.5), pytest.approx(50 + half, abs=2.5))
    same = difference("a", "b", None, np.zeros(80), GROUPS, 200)
    assert (same.points, same.low, same.high) == (0, 0, 0)


def test_what_is_released_is_held_against_the_strongest_single_modality_and_linear_fusion() -> None:
    linear = {LATE: right(0.3, 9)}
    trials = [trial(0), trial(1, released="ear")]
    found = {(d.first, d.second, d.seed): d for d in compare(trials, linear, (LATE,), 500)}
    assert trials[0].strongest_single == "ear"
    mix, ear, late = trials[0].correct["mix"], trials[0].correct["ear"], linear[LATE]
    assert found["released", "strongest single", 0].points == pytest.approx(100 * (mix.mean() - ear.mean()))
    assert found["released", "strongest single", 1].points == 0  # it is that modality
    assert found["mix", LATE, 0].points == pytest.approx(100 * (mix.mean() - late.mean()))
    both = [found["released", LATE, seed].points for seed in (0, 1)]
    assert found["released", LATE, None].points == pytest.approx(np.mean(both))


def test_the_figures_are_the_worst_seeds_and_absent_where_nothing_is_released() -> None:
    linear = {LATE: right(0.3, 9)}
    some = compare([trial(0), trial(1, released="ear")], linear, (LATE,), 500)
    assert worst(some, "strongest single", "high") == 0
    assert set(figures("clean", some)) == {"clean: released - strongest single, upper end"}
    assert len(figures("babble_0_db", some)) == 2
    none = compare([trial(0), trial(1, released="nothing")], linear, (LATE,), 500)
    assert not [d for d in none if d.first == "released"] and [d for d in none if d.first == "mix"]
    assert worst(none, LATE, "low") is None


# --------------------------------------------------------------------------- plain models


def test_linear_models_know_what_they_saw_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    labels_N = rng.integers(0, 2, 60)
    x_NF = (rng.normal(size=(60, 3)) + 3 * labels_N[:, None]).astype(np.float32)
    said_RK = linear_probabilities(x_NF, labels_N, 4, np.arange(40), np.arange(40, 60), 50)
    assert said_RK.shape == (20, 4) and not said_RK[:, 2:].any()
    np.testing.assert_allclose(said_RK.sum(1), 1)
    assert (said_RK.argmax(1) == labels_N[40:]).mean() > 0.9


def test_leading_components_are_found_on_training_rows_alone() -> None:
    rng = np.random.default_rng(0)
    axis_P = np.array([3.0, 4.0, 0.0, 0.0]) / 5
    x_NP = rng.normal(size=(50, 1)) * 10 * axis_P + rng.normal(size=(50, 4)) * 0.1
    x_NP[40:, 3] += 100 * rng.normal(size=10)  # of rows that the fit must not see
    left_NP = without_leading(x_NP, np.arange(50) < 40, 0.75)
    assert np.abs(left_NP[:40] @ axis_P).max() < 0.1
    assert np.abs(left_NP[40:, 3]).max() > 10


def test_the_strongest_plain_model_may_be_the_small_network() -> None:
    net = trial(0)
    assert strongest_plain({LATE: right(0.3, 9)}, net)[0] == "small network, weighted sum"
    assert strongest_plain({LATE: np.ones(80, bool)}, net)[0] == LATE


# --------------------------------------------------------------------------- what is asked, and told


def test_every_case_reads_its_own_sound(tmp_path: Path) -> None:
    config = words_settings(tmp_path, tmp_path, ("reliability",), quick=False)
    assert set(config.models) == set(CASES) and all(model.folds == 5 for model in config.models.values())
    levels = {
        name: config.corpora["grid"].renditions[config.models[name].inputs[0].partition(".")[2]].noise
        for name in BABBLE_DB
    }
    assert {name: noise.snr_db for name, noise in levels.items() if noise} == BABBLE_DB


def test_speakers_are_the_folds_and_policies_change_the_gate_alone(tmp_path: Path) -> None:
    config = digits_settings(tmp_path, tmp_path, ("reliability",), quick=True)
    assert config.corpora["digits"].labels and config.corpora["digits"].labels.group == "speaker"
    assert config.models["digits"].folds == 4 and config.models["digits"].train.epochs == 2
    other = with_policy(config, FewGroups.SINGLE)
    assert other.gate.few_groups is FewGroups.SINGLE and other.models == config.models


def test_a_result_has_figures_goals_and_what_lies_behind_them() -> None:
    linear = {LATE: right(0.3, 9)}
    trials = [trial(0), trial(1)]
    differences = compare(trials, linear, (LATE,), 200)
    cases = {"babble_0_db": case_table(trials, linear, differences)}
    result = json.loads(json.dumps(words_report(cases, figures("babble_0_db", differences), 2, quick=False)))
    assert set(result["ratios"]) == set(result["goals"]) == set(result["met"])
    assert all(result["met"].values())
    assert [row["name"] for row in result["cases"]["babble_0_db"]["contenders"]] == ["ear", "eye", "mix"]
    assert len(result["cases"]["babble_0_db"]["gate"]) == 2
    quick = words_report(cases, figures("babble_0_db", differences), 2, quick=True)
    assert set(quick["met"].values()) == {None}, "a quick run claims nothing"


@pytest.mark.parametrize("run", [words_main, digits_main])
def test_a_corpus_that_is_absent_is_named(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--corpus", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2 and str(tmp_path / "none") in capsys.readouterr().err


def test_a_quick_run_takes_pairs_of_every_speaker(corpora: Path, tmp_path: Path) -> None:
    table = few_pairs(corpora / "av_digits", tmp_path) / "labels.jsonl"
    rows = [json.loads(line) for line in table.read_text("utf-8").splitlines()]
    assert len({row["speaker"] for row in rows}) == 4 and len({row["digit"] for row in rows}) == 10
    assert len(list((tmp_path / "raw").iterdir())) == 2 * len(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "corpus", "options"),
    [
        ("grid_words", "grid", ("--cases", "clean,babble_0_db")),  # more babble is more of the same
        ("av_digits_fusion", "av_digits", ()),
    ],
)
def test_it_runs_whole_on_the_real_media(
    script: str, corpus: str, options: tuple[str, ...], corpora: Path, tmp_path: Path
) -> None:
    words = [sys.executable, SCRIPTS / f"{script}.py", "--quick", "--json", "--corpus", corpora / corpus, *options]
    # One thread: beside another test two would only wait for each other.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["quick"] and set(result["ratios"]) == set(result["goals"]) == set(result["met"])
    for case in result["cases"].values():
        assert {row["kind"] for row in case["contenders"]} == {"single", "fused"} and case["gate"]
    if script == "av_digits_fusion":
        assert all("insufficient groups: 4" in row["sentence"] for row in result["cases"]["digits"]["gate"])
        assert result["linear_of_training_clips"]
        assert result["few_groups"]["nothing"] == "nothing"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("mmpipe-bench-")], "it leaves files behind"
