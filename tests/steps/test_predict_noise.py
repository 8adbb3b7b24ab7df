"""A model that learnt from noisy sound is asked about sound without noise, prepared by the rest of its rendition."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kill_corpus import CORPUS, DT
from kill_models import MODEL, model_table, write_pairs_that_need_both
from renamed_answers import answers_on

from mmpipe.cli.main import main
from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.registry.aliases import find_version
from mmpipe.registry.versions import publish_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.train import train_model

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

FILTERS = ["highpass=f=200"]
LOUD, NOISE, TEXT = "audio-mfccseg.loud@1", "audio-mfccseg.noise@1", "text-ngrams@1"
QUIET, PLAIN = "audio-mfccseg.quiet@1", "audio-mfccseg@1"


def table_of(folder: Path) -> dict[str, Any]:
    """Return the config of a model over noisy sound, filtered and not; the same without noise is made beside it."""
    table = model_table(folder, "whole")
    noise = {"bank": "babble", "snr_db": 0.0}
    table["corpora"][CORPUS] |= {
        "renditions": {
            "loud": {"modality": "audio", "filters": FILTERS, "noise": noise},
            "noise": {"modality": "audio", "noise": noise},
            "quiet": {"modality": "audio", "filters": FILTERS},
        },
        "banks": {"babble": {"clips": 4, "voices": 2, "length_s": 1.0, "sample_rate_hz": 8_000}},
        "features": ["audio-mfccseg", "audio-mfccseg.quiet"],
    }
    table["models"][MODEL]["inputs"] = ["audio-mfccseg.loud", "audio-mfccseg.noise", "text-ngrams"]
    return table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Iterator[Path]:
    """Train and release a model over noisy sound."""
    folder = tmp_path_factory.mktemp("noisy")
    write_pairs_that_need_both(folder / "media")
    config = parse_config(table_of(folder))
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS))
    release_model(config, MODEL, train_model(config, MODEL).checkpoint)
    yield folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    shutil.copytree(made / "store", tmp_path / "store")
    return parse_config(table_of(made) | {"store": str(tmp_path / "store")})


def publish_changed(config: Config, **changes: Any) -> str:
    """Publish the version once more with other keys in its extraction.json, None for none; return how to name it."""
    version = find_version(config.store / "models", MODEL, "1")
    files: dict[str, bytes | Path] = {
        path.name: path for path in version.path.iterdir() if path.name not in ("SHA256SUMS", "version.json")
    }
    table = {name: value for name, value in json.loads(version.read("extraction.json")).items() if name not in changes}
    table |= {name: value for name, value in changes.items() if value is not None}
    files["extraction.json"] = json.dumps(table).encode()
    other = publish_version(config.store / "models", MODEL, files, status="candidate", recipe_digest="other")
    return f"{MODEL}@{other.number}"


def test_files_are_asked_without_the_noise_and_with_the_filters(config: Config, made: Path) -> None:
    report = predict_files(config, sorted((made / "media").iterdir()), f"{MODEL}@1")
    assert report.unanswered == () and report.without_noise == (LOUD, NOISE)
    expected = answers_on(config, MODEL, {QUIET: LOUD, PLAIN: NOISE, TEXT: TEXT})
    noisy = answers_on(config, MODEL, {LOUD: LOUD, NOISE: NOISE, TEXT: TEXT})
    told = {answer.key: list(answer.said["probabilities"].values()) for answer in report.answers}
    assert told.keys() == expected.keys()
    assert all(told[key] == pytest.approx(expected[key], abs=1e-5) for key in told)
    assert any(told[key] != pytest.approx(noisy[key], abs=1e-3) for key in told)


def test_the_verb_says_that_the_noise_is_left_out(
    config: Config, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = table_of(made) | {"store": str(config.store)}
    (tmp_path / "mmpipe.toml").write_text(_toml(table))
    sound = str(made / "media" / "clip-00.wav")
    with pytest.raises(SystemExit) as end:
        main(["predict", sound, "--model", f"{MODEL}@1", "--config", str(tmp_path / "mmpipe.toml")])
    told = capsys.readouterr()
    assert end.value.code == 0 and "clip-00" in told.out
    assert f"{LOUD} is read without the noise that {MODEL}@1" in told.err


def _toml(table: dict[str, Any], inside: str = "") -> str:
    """Write a plain table as TOML."""
    plain = [f"{name} = {json.dumps(value)}" for name, value in table.items() if not isinstance(value, dict)]
    inner = [(f"{inside}{name}", value) for name, value in table.items() if isinstance(value, dict)]
    return "\n".join([*plain, *(f"[{name}]\n{_toml(value, f'{name}.')}" for name, value in inner)]) + "\n"


def test_a_version_of_before_is_asked_by_the_notes_of_its_store(config: Config, made: Path) -> None:
    files = [made / "media" / "clip-00.wav"]
    older = publish_changed(config, noiseless=None)
    assert predict_files(config, files, older).answers == predict_files(config, files, f"{MODEL}@1").answers
    for path in (config.store / CORPUS / LOUD / "_meta" / "fingerprints").glob("*.json"):
        path.unlink()
    assert predict_files(config, files, f"{MODEL}@1").answers
    with pytest.raises(
        ConfigError, match=r"who@2-\w+ learnt from audio-mfccseg\.loud@1, sound .*mmpipe train --model who"
    ):
        predict_files(config, files, older)


def test_another_extractor_than_the_trained_one_is_still_refused(config: Config, made: Path) -> None:
    reference = publish_changed(config, noiseless={LOUD: "0" * 64})
    with pytest.raises(ConfigError, match=r"another audio-mfccseg\.loud@1 than the one installed"):
        predict_files(config, [made / "media" / "clip-00.wav"], reference)
