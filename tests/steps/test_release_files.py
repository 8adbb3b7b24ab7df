"""What a release holds: every file that a stranger needs to use it, to check it and to make it again."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from kill_corpus import CORPUS
from kill_models import MODEL
from safetensors.numpy import load

from mmpipe.evaluate.answers.files import from_parquet
from mmpipe.evaluate.temperature import apply_temperature
from mmpipe.registry.aliases import find_version
from mmpipe.registry.versions import Version, list_versions
from mmpipe.steps.release import graphs
from mmpipe.steps.release.graphs import export_graphs, told_graphs
from mmpipe.steps.release.release import release_model
from mmpipe.store.layout import open_store
from mmpipe.types import digest_of

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture(scope="session")
def version(winning) -> Version:
    """Return the version in production."""
    return find_version(open_store(winning.config.store).models, MODEL, "production")


def test_a_release_has_all_its_files_and_no_place_of_this_machine(version, winning):
    assert set(version.files()) >= {
        "model.safetensors", "config.json", "README.md", "metrics.json", "verdict.json", "calibration.json",
        "lineage.json", "training.json", "extraction.json", "predictions.parquet", "ablation.json", "robustness.json",
        "figures.json", "model.pt2", "parity.json", "version.json",
    }  # fmt: skip
    for name in version.files():
        assert str(winning.folder).encode() not in version.read(name), name


def test_what_the_network_needs_to_read_features_is_within_its_tensors(version):
    config = json.loads(version.read("config.json"))
    tensors = load(version.read("model.safetensors"))
    assert (
        [config["id2label"][str(number)] for number in range(4)]
        == config["spec"]["classes"]
        == ["ax", "ay", "bx", "by"]
    )
    for entry in config["spec"]["inputs"]:
        for part in ("mean_F", "scale_F", "components_KF"):
            assert np.isfinite(tensors[f"preprocess.{entry['feature']}.{part}"]).all()


def test_the_calibration_says_on_which_clips_it_was_fitted_and_what_it_does(version):
    told = json.loads(version.read("calibration.json"))
    metrics = json.loads(version.read("metrics.json"))
    test = from_parquet(version.read("predictions.parquet"))
    assert told["temperature"] == metrics["temperature"]
    assert told["temperature"] == np.median([part["temperature"] for part in told["fitted_on"]])
    assert [part["part"] for part in told["fitted_on"]] == [0, 1, 2]
    assert all(part["num_clips"] >= 4 and part["reason"] for part in told["fitted_on"])
    assert told["measured_on"] == {
        "num_clips": 48,
        "num_groups": 12,
        "clips_sha256": digest_of("clips", *sorted(test.keys)),
    }
    contender = json.loads(version.read("verdict.json"))["judged"]
    after = told["after"]["expected_calibration_error"]
    assert after == pytest.approx(metrics["measured"][contender]["calibration_error"])
    for answers, when in ((test, "before"), (apply_temperature(test, told["temperature"]), "after")):
        bins = told[when]["reliability"]
        assert sum(one["num_clips"] for one in bins) == 48
        confidence = sum(one["num_clips"] * one["confidence"] for one in bins) / 48
        assert confidence == pytest.approx(answers.probabilities_NK.max(axis=1).mean())


def test_the_card_says_limits_the_weak_modality_and_the_graphs(version):
    card = version.read("README.md").decode()
    assert "## Limits" in card and "other recordings, languages or devices were not tested" in card
    weak = json.loads(version.read("ablation.json"))["weak"]["sentence"]
    assert weak and weak.replace("_", "\\_")[:40] in card
    assert "## Without mmpipe" in card and "`model.pt2`" in card
    assert "- `model.onnx`: not made, release.onnx is off" in card
    for name in version.files():
        assert name.replace("_", "\\_") in card or name == "version.json" or name == "README.md", name


def test_without_the_extra_a_release_says_so_and_with_it_both_graphs_are_compared(winning, tmp_path, monkeypatch):
    config = winning.place(winning.before_release, tmp_path)
    folder = config.store / "checkpoints" / winning.trained.checkpoint / "release" / "concat"
    monkeypatch.setattr("mmpipe.steps.release.graphs.ONNX_PACKAGES", ("onnx", "no_such_package_of_onnx"))
    export_graphs(folder, onnx=True)
    told = json.loads((folder / "parity.json").read_bytes())
    assert told["not_made"] == {"model.onnx": "install mmpipe[onnx]"} and list(told["graphs"]) == ["model.pt2"]
    assert [(one.file, one.why_not) for one in told_graphs(folder)] == [
        ("model.pt2", ""), ("model.onnx", "install mmpipe[onnx]")
    ]  # fmt: skip
    monkeypatch.undo()
    (folder / "parity.json").unlink()
    export_graphs(folder, onnx=True)
    told = json.loads((folder / "parity.json").read_bytes())
    assert sorted(told["graphs"]) == ["model.onnx", "model.pt2"] and not told["not_made"]
    assert told["max_difference"] == max(one["max_difference"] for one in told["graphs"].values()) <= told["tolerance"]
    assert set(told["graphs"]["model.onnx"]["versions"]) == {"torch", "onnx", "onnxruntime", "onnxscript"}
    before = (folder / "model.onnx").stat().st_mtime_ns
    export_graphs(folder, onnx=True)
    assert (folder / "model.onnx").stat().st_mtime_ns == before
    released = release_model(config, MODEL, winning.trained.checkpoint)
    made = find_version(open_store(config.store).models, MODEL, released.version)
    assert "model.onnx" in made.files()
    (check,) = [one for one in json.loads(made.read("verdict.json"))["checks"] if one["name"] == "export_parity"]
    assert (check["value"], check["passed"]) == (told["max_difference"], True)
    assert (
        hashlib.sha256(made.read("model.onnx")).hexdigest()
        == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    )


def test_what_cannot_be_said_in_onnx_is_kept_with_its_reason(winning, tmp_path, monkeypatch):
    config = winning.place(winning.before_release, tmp_path)
    folder = config.store / "checkpoints" / winning.trained.checkpoint / "release" / "concat"
    monkeypatch.setattr("mmpipe.train.export_onnx.MAX_BYTES", 10)
    export_graphs(folder, onnx=True)
    told = json.loads((folder / "parity.json").read_bytes())
    assert "an ONNX file with the weights within ends at 2 GiB" in told["not_made"]["model.onnx"]
    assert graphs.ONNX not in {path.name for path in folder.iterdir()}


def test_forgetting_leaves_the_calibration_without_a_name(version, winning):
    keys = from_parquet(version.read("predictions.parquet")).keys
    for name in ("calibration.json", "training.json", "parity.json"):
        assert not any(key.encode() in version.read(name) for key in keys)
    assert (
        list_versions(open_store(winning.config.store).models, MODEL)
        and CORPUS in version.read("lineage.json").decode()
    )
