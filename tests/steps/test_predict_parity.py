"""What a model says of a raw file is what the batch said of the same clips."""

from __future__ import annotations

import json
import os
import tempfile

import numpy as np
import pytest
from kill_corpus import CORPUS, write_sound, write_words
from kill_models import MODEL

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.temperature import apply_temperature
from mmpipe.registry.aliases import find_version
from mmpipe.registry.versions import publish_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot
from mmpipe.train.weights import infer, load_model

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")


def batch_answers(config: Config, ref: str) -> dict[str, dict[str, float]]:
    """Return key -> class -> probability, from the stored features and the released weights."""
    version = find_version(config.store / "models", MODEL, ref)
    model = load_model(version.path)
    layout = StoreLayout(config.store)
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, model.spec.features), model.spec.features)
    rows = np.arange(len(reader))
    predictions = ClassAnswers(
        keys=tuple(reader.spine["key"]),
        groups=tuple(reader.spine["group"]),
        labels_N=np.zeros(len(rows), dtype=np.int64),
        probabilities_NK=infer(model, reader, rows).answers_N,
        classes=model.spec.classes,
    )
    scaled = apply_temperature(predictions, json.loads(version.read("metrics.json"))["temperature"])
    return {
        key: dict(zip(model.spec.classes, row.tolist(), strict=True))
        for key, row in zip(scaled.keys, scaled.probabilities_NK, strict=True)
    }


@pytest.mark.parametrize(
    ("kind", "ref", "clips"), [("winning", "production", 48), ("losing", "production", 48), ("losing", "1", 48)]
)
def test_predictions_on_raw_files_are_those_of_the_batch(request, kind, ref, clips):
    made = request.getfixturevalue(kind)
    files = sorted((made.folder / "media").iterdir())
    report = predict_files(made.config, files, f"{MODEL}@{ref}")
    expected = batch_answers(made.config, ref)
    assert report.unanswered == ()
    assert len(report.answers) == clips
    assert {answer.key for answer in report.answers} == set(expected)
    for answer in report.answers:
        wanted = expected[answer.key]
        assert answer.said["probabilities"] == pytest.approx(wanted, abs=1e-5)
        assert answer.said["label"] == max(wanted, key=wanted.__getitem__)
    assert (
        len({answer.said["label"] for answer in report.answers}) > 1
    )  # not one answer for all, which any batch would give


def test_one_file_alone_gets_the_answer_that_it_got_among_others(winning):
    """Also by way of its caption, and of a link: its sidecars belong to it."""
    media = winning.folder / "media"
    expected = batch_answers(winning.config, "production")
    link = winning.folder / "latest.wav"
    link.symlink_to(media / "clip-07.wav")
    for asked in (media / "clip-07.wav", media / "clip-07.txt", link):
        (answer,) = predict_files(winning.config, [asked], MODEL).answers
        assert answer.source == "clip-07"
        assert answer.said["probabilities"] == pytest.approx(expected[answer.key], abs=1e-5)
    link.unlink()


def test_cues_are_answered_one_by_one_with_their_times(losing):
    report = predict_files(losing.config, [losing.folder / "media" / "clip-03.wav"], MODEL)
    assert [(answer.start_s, answer.end_s, answer.said["label"]) for answer in report.answers] == [
        (0.0, 0.4, "b"),
        (0.4, 0.8, "b"),
    ]


def test_a_file_without_one_of_the_modalities_is_answered_from_the_other(winning, tmp_path):
    write_sound(tmp_path / "mute-caption.wav", 1_405)
    write_words(tmp_path / "only-words.txt", "warm slow room")
    report = predict_files(winning.config, sorted(tmp_path.iterdir()), MODEL)
    answers = {answer.source: answer.said["label"] for answer in report.answers}
    assert set(answers) == {"mute-caption", "only-words"}
    assert answers["mute-caption"].startswith("b")  # the tone that it has says so
    assert answers["only-words"].endswith("x")
    assert report.unanswered == ()


def test_bad_files_are_reported_and_the_others_answered(winning, tmp_path):
    write_sound(tmp_path / "good.wav", 330)
    write_words(tmp_path / "good.txt", "warm slow room")
    write_words(tmp_path / "lies.wav", "this is no sound")
    (tmp_path / "empty.wav").touch()
    write_words(tmp_path / "table.xyz", "no media suffix")
    write_words(tmp_path / ".hidden.txt", "left out by rule")
    os.mkfifo(tmp_path / "pipe.wav")
    report = predict_files(winning.config, list(tmp_path.iterdir()), MODEL)
    assert [answer.source for answer in report.answers] == ["good"]
    assert {entry.source: entry.code for entry in report.unanswered} == {
        "lies.wav": "not_media",
        "empty.wav": "empty_file",
        "table.xyz": "unknown_type",
        ".hidden.txt": "filtered",
        "pipe.wav": "not_regular",
    }


def test_files_of_several_folders_that_share_names_are_all_answered(winning, tmp_path):
    for folder, hz in (("a", 330), ("b", 1_400)):
        (tmp_path / folder).mkdir()
        write_sound(tmp_path / folder / "same.wav", hz)
    report = predict_files(winning.config, [tmp_path / "a" / "same.wav", tmp_path / "b" / "same.wav"], MODEL)
    assert [answer.said["label"][0] for answer in report.answers] == ["a", "b"]


def test_asking_leaves_no_trace_in_the_store_whatever_the_environment_names(winning, monkeypatch):
    """MMPIPE_STORE outranks every config that is made anew; the question must stay in a store of its own."""
    before = {str(path): path.stat().st_mtime_ns for path in winning.config.store.rglob("*")}
    monkeypatch.setenv("MMPIPE_STORE", str(winning.config.store))
    report = predict_files(winning.config, [winning.folder / "media" / "clip-00.wav"], MODEL)
    assert len(report.answers) == 1
    assert {str(path): path.stat().st_mtime_ns for path in winning.config.store.rglob("*")} == before


def publish_changed(config: Config, name: str, change) -> str:
    """Publish the version in production once more with one of its JSON files changed; return how to name it."""
    version = find_version(config.store / "models", MODEL, "production")
    files = {path.name: path for path in version.path.iterdir() if path.name not in ("SHA256SUMS", "version.json")}
    table = json.loads(version.read(name))
    change(table)
    files[name] = json.dumps(table).encode()
    other = publish_version(config.store / "models", MODEL, files, status="candidate", recipe_digest="other")
    return f"{MODEL}@{other.number}"


def test_the_temperature_of_the_version_is_applied(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    reference = publish_changed(config, "metrics.json", lambda table: table.update(temperature=4.0))
    expected = batch_answers(config, reference.partition("@")[2])
    asked = [winning.folder / "media" / "clip-00.wav"]
    (warm,), (plain,) = (predict_files(config, asked, name).answers for name in (reference, MODEL))
    assert warm.said["probabilities"] == pytest.approx(expected[warm.key], abs=1e-5)
    assert warm.said["probability"] < plain.said["probability"] - 0.01


def test_a_model_of_other_extractors_is_refused_by_name(winning, tmp_path):
    """A version whose fingerprints no installed extractor has must not be fed with other numbers."""
    config = winning.place(winning.config.store, tmp_path)
    reference = publish_changed(
        config, "lineage.json", lambda table: table["fingerprints"].update({"audio-mfccseg@1": "0" * 64})
    )
    with pytest.raises(ConfigError, match="another audio-mfccseg@1 than the one installed"):
        predict_files(config, [winning.folder / "media" / "clip-00.wav"], reference)


def test_what_is_asked_is_never_kept(winning, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # its own: others predict at the same time
    predict_files(winning.config, [winning.folder / "media" / "clip-00.wav"], MODEL)
    assert list(tmp_path.iterdir()) == []


def test_the_batch_side_of_this_file_can_differ(winning, losing):
    """The comparison can fail: without the temperature, or with another version, the numbers are others."""
    production, judged = batch_answers(losing.config, "production"), batch_answers(losing.config, "1")
    assert any(abs(production[key]["a"] - judged[key]["a"]) > 1e-5 for key in production)
