"""A model that learnt from blurred and covered pictures is asked about pictures as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kill_corpus import CORPUS, DT
from kill_models import MODEL, model_table, write_pairs_that_need_both
from PIL import Image
from renamed_answers import answers_on

from mmpipe.cli.main import main
from mmpipe.config import Config, parse_config
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.train import train_model

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

SPOILT, PLAIN, TEXT = "image-hogdct.spoilt@1", "image-hogdct@1", "text-ngrams@1"


def write_stripes(root: Path) -> None:
    """Put a picture in the place of each sound: its stripes stand or lie as the sound was low or high."""
    for number, sound in enumerate(sorted(root.glob("*.wav"))):
        random = np.random.default_rng(number)
        stripes_HW = np.tile(np.arange(64) // 8 % 2 * 160, (64, 1))
        noisy_HW = (stripes_HW.T if number % 2 else stripes_HW) + random.integers(0, 90, (64, 64))
        Image.fromarray(noisy_HW.astype(np.uint8)).convert("RGB").save(sound.with_suffix(".png"))
        sound.unlink()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Config:
    """Train and release a model over spoilt pictures and captions; the pictures as they are stand beside them."""
    folder = tmp_path_factory.mktemp("spoilt")
    write_pairs_that_need_both(folder / "media")
    write_stripes(folder / "media")
    table: dict[str, Any] = model_table(folder, "whole")
    table["corpora"][CORPUS] |= {
        "renditions": {"spoilt": {"modality": "image", "degrade": {"blur_px": 6.0, "block_share": 0.4}, "seed": 3}},
        "features": ["image-hogdct"],
    }
    table["models"][MODEL]["inputs"] = ["image-hogdct.spoilt", "text-ngrams"]
    (folder / "mmpipe.toml").write_text(_toml(table))
    made = parse_config(table)
    ingest_corpus(made, CORPUS, DT)
    extract_plan(made, plan_corpus(made, CORPUS))
    release_model(made, MODEL, train_model(made, MODEL).checkpoint)
    return made


def _toml(table: dict[str, Any], inside: str = "") -> str:
    plain = [f"{name} = {json.dumps(value)}" for name, value in table.items() if not isinstance(value, dict)]
    inner = [(f"{inside}{name}", value) for name, value in table.items() if isinstance(value, dict)]
    return "\n".join([*plain, *(f"[{name}]\n{_toml(value, f'{name}.')}" for name, value in inner)]) + "\n"


def test_pictures_are_asked_about_as_they_are(config: Config) -> None:
    media = config.corpora[CORPUS].root
    assert isinstance(media, Path)
    report = predict_files(config, sorted(media.iterdir()), f"{MODEL}@1")
    assert (report.unanswered, report.without_noise, report.without_degrading) == ((), (), (SPOILT,))
    expected = answers_on(config, MODEL, {PLAIN: SPOILT, TEXT: TEXT})
    spoilt = answers_on(config, MODEL, {SPOILT: SPOILT, TEXT: TEXT})
    told = {answer.key: list(answer.said["probabilities"].values()) for answer in report.answers}
    assert told.keys() == expected.keys()
    assert all(told[key] == pytest.approx(expected[key], abs=1e-5) for key in told)
    assert any(told[key] != pytest.approx(spoilt[key], abs=1e-3) for key in told)


def test_the_verb_says_that_blur_and_blocks_are_left_out(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    folder = config.store.parent
    asked = [str(folder / "media" / "clip-00.png"), "--config", str(folder / "mmpipe.toml"), "--json"]
    with pytest.raises(SystemExit) as end:
        main(["predict", *asked, "--model", f"{MODEL}@1"])
    told = capsys.readouterr()
    assert end.value.code == 0 and json.loads(told.out)["without_degrading"] == [SPOILT]
    assert f"{SPOILT} is read without the blur and blocks that {MODEL}@1" in told.err


def test_a_version_notes_what_its_inputs_are_unspoilt(config: Config) -> None:
    (said,) = (config.store / "models" / MODEL).rglob("extraction.json")
    assert set(json.loads(said.read_text())["noiseless"]) == {SPOILT}
