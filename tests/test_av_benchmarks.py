"""The benchmarks of imputation and generation: their parts on made digits, and that they run on the real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.quality.av_digits import CORPUS, Digits
from benchmarks.quality.av_generation import conditions, diversity_of, says, train_judge
from benchmarks.quality.contact_sheet import GREY, SCALE, write_sheet
from benchmarks.quality.imputation import PICTURE, SOUND, prepare, report
from mmpipe.config import Imputation
from mmpipe.train.imputation.compare import RIVALS
from mmpipe.train.imputation.error import held_out_errors
from mmpipe.train.imputation.simple import fit_mean, fit_ridge

REPOSITORY = Path(__file__).resolve().parent.parent
needs_digits = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no AV digits at {CORPUS}")


def made_digits(num_clips: int = 60) -> Digits:
    """Digits whose sound and picture are both a line of their class."""
    rng = np.random.default_rng(0)
    digits_N = np.arange(num_clips) % 10
    one_hot_NK = np.eye(10)[digits_N]
    pixels_NHW = 0.1 * rng.random((num_clips, 28, 28))
    for row, digit in enumerate(digits_N):
        pixels_NHW[row, 2 * digit : 2 * digit + 4, 4:24] += 0.8
    return Digits(
        sound_NF=np.zeros((num_clips, 1), np.float32),
        mfccseg_NF=(one_hot_NK @ rng.normal(size=(10, 20)) + 0.1 * rng.normal(size=(num_clips, 20))).astype("f4"),
        hogdct_NF=(one_hot_NK @ rng.normal(size=(10, 30)) + 0.1 * rng.normal(size=(num_clips, 30))).astype("f4"),
        pixels_NHW=pixels_NHW.astype("f4"),
        digits_N=digits_N,
        speakers_N=np.array([f"s{row // 10 % 3}" for row in range(num_clips)]),
    )


def test_imputers_are_compared_on_the_same_entries_of_whole_speakers() -> None:
    digits = made_digits()
    is_judged_N = digits.speakers_N == "s0"
    train, judged = prepare(digits, np.flatnonzero(~is_judged_N), np.flatnonzero(is_judged_N))
    assert set(train.groups_N) == {"s1", "s2"} and set(judged.groups_N) == {"s0"}
    assert train.features == (SOUND, PICTURE) and train.x_NF.square().mean().item() == pytest.approx(1, rel=0.1)
    worse, better = held_out_errors(fit_mean(train), judged), held_out_errors(fit_ridge(train, 1.0), judged)
    errors = dict.fromkeys(RIVALS[Imputation.GAN], worse) | {Imputation.GAN: better}
    found = report(errors, worse, {})
    assert found["kept"] and found["ratios"]["best_simple_error_over_gan_error"] > 2
    assert found["errors"]["gan"]["squared"]["value"] == pytest.approx(better.squared_E.mean())
    assert found["gain_by_game"]["value"] == pytest.approx(worse.squared_E.mean() - better.squared_E.mean())
    assert found["clips"] == len(judged) and json.loads(json.dumps(found)) == found


def test_the_judge_is_taught_by_real_pictures() -> None:
    import torch

    digits = made_digits(200)
    pictures, labels = torch.from_numpy(digits.pixels_NHW), torch.from_numpy(digits.digits_N)
    judge = train_judge(pictures[:100], labels[:100], seed=0, steps=60)
    assert (says(judge, pictures[100:]) == digits.digits_N[100:]).mean() > 0.9
    sound_NC, other_NC = conditions(digits.mfccseg_NF[:100], digits.mfccseg_NF[100:])
    assert sound_NC.shape == other_NC.shape == (100, 20)


def test_diversity_is_one_of_real_pictures_and_nought_of_one_per_class() -> None:
    digits = made_digits()
    same_NHW = np.stack([digits.pixels_NHW[digit] for digit in digits.digits_N])
    assert diversity_of(digits.pixels_NHW, digits.pixels_NHW, digits.digits_N) == pytest.approx(1)
    assert diversity_of(same_NHW, digits.pixels_NHW, digits.digits_N) == pytest.approx(0, abs=1e-9)


def test_a_sheet_has_real_pictures_left_and_made_ones_right(tmp_path: Path) -> None:
    digits = made_digits()
    file = write_sheet(
        tmp_path / "new" / "sheet.png", digits.pixels_NHW, 1 - digits.pixels_NHW, digits.digits_N, per_class=8
    )
    with Image.open(file) as sheet:
        found = np.asarray(sheet)[::SCALE, ::SCALE]
    assert found.shape == (10 * 28, 2 * 8 * 28 + 8)
    assert (found[:28, :28] == (255 * digits.pixels_NHW[0]).round()).all()
    assert (found[:28, 8 * 28 + 8 : 9 * 28 + 8] == (255 * (1 - digits.pixels_NHW[0])).round()).all()
    assert (found[:, 8 * 28 : 8 * 28 + 8] == GREY).all() and (found[:28, 6 * 28 : 8 * 28] == GREY).all()


@needs_digits
@pytest.mark.slow
@pytest.mark.parametrize(("name", "more"), [("imputation", ()), ("av_generation", ("--steps", "40"))])
def test_it_runs_on_the_real_digits(name: str, more: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / f"benchmarks/quality/{name}.py"), "--quick", "--json", *more]
    if name == "av_generation":
        command += ["--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["benchmark"] == name and found["quick"] and set(found["ratios"]) & set(found["goals"])
    if name == "av_generation":
        assert Path(found["sheet"]).is_file() and 0 <= found["made_accuracy"]["value"] <= 1


def test_without_the_corpus_it_says_where_it_looked(tmp_path: Path) -> None:
    from benchmarks.quality.av_digits import read_digits

    with pytest.raises(SystemExit, match="no AV digits at"):
        read_digits(tmp_path / "none")
