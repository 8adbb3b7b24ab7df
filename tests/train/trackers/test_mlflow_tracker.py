"""Runs are read back with MLflow's own client from the file that holds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tracked import epoch, fit

from mmpipe.errors import ConfigError
from mmpipe.train.log import scalars_of
from mmpipe.train.trackers.mlflow import MlflowTracker, require_mlflow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose database is made once: that takes seconds."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(autouse=True)
def _no_other_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMPIPE_MLFLOW_URI", raising=False)


def runs_of(folder: Path, name: str) -> tuple:
    client = require_mlflow().tracking.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mmpipe/who")
    found = client.search_runs([experiment.experiment_id], filter_string=f"tags.`mmpipe.fit` = '{name}'")
    return client, experiment, found


def track(folder: Path, name: str, *, known: int, upto: int, ends: bool = True) -> None:
    tracker = MlflowTracker(fit(name), folder)
    tracker.begin([epoch(number) for number in range(1, known + 1)])
    for number in range(known + 1, upto + 1):
        tracker.add(epoch(number))
    if ends:
        tracker.end(finished=True)


def test_a_fit_is_a_run_with_its_settings_and_every_epoch(folder):
    track(folder, "fits/concat/part-0-seed-0", known=1, upto=3)
    client, experiment, (run,) = runs_of(folder, "fits/concat/part-0-seed-0")
    assert run.info.status == "FINISHED" and run.info.run_name == "fits/concat/part-0-seed-0"
    assert run.data.params["train.learning_rate"] == "0.25" and len(run.data.params["long"]) == 500
    assert run.data.tags["mmpipe.checkpoint"] == "who-0a1b"
    for tag, value in scalars_of(epoch(2)).items():
        history = {m.step: m.value for m in client.get_metric_history(run.info.run_id, tag.replace("@", "_"))}
        assert sorted(history) == [1, 2, 3] and history[2] == pytest.approx(value), tag
    assert experiment.artifact_location == (folder / "mlflow").resolve().as_uri()
    assert sorted(path.name for path in folder.iterdir()) == ["mlflow.db"]


def test_nothing_of_the_machine_or_its_user_is_in_it(folder):
    track(folder, "quiet", known=0, upto=1)
    _, _, (run,) = runs_of(folder, "quiet")
    assert set(run.data.tags) == {"mmpipe.checkpoint", "mmpipe.fit", "mlflow.runName"}
    assert run.info.user_id in ("unknown", "")


def test_a_killed_fit_that_goes_on_has_one_run_without_gaps_or_doubles(folder):
    track(folder, "killed", known=0, upto=3, ends=False)
    _, _, (first,) = runs_of(folder, "killed")
    assert first.info.status == "RUNNING"
    track(folder, "killed", known=4, upto=5)  # the fourth epoch was kept, and not told before the kill
    client, _, (run,) = runs_of(folder, "killed")
    assert (run.info.run_id, run.info.status) == (first.info.run_id, "FINISHED")
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss/train")] == [1, 2, 3, 4, 5]


def test_a_fit_that_goes_on_from_before_what_was_told_has_a_run_anew(folder):
    track(folder, "back", known=0, upto=3, ends=False)
    track(folder, "back", known=2, upto=4)
    client, _, (run,) = runs_of(folder, "back")
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss/train")] == [1, 2, 3, 4]


def test_a_failed_fit_is_called_so(folder):
    tracker = MlflowTracker(fit("failed"), folder)
    tracker.begin([])
    tracker.end(finished=False)
    assert runs_of(folder, "failed")[2][0].info.status == "FAILED"


def test_a_database_that_cannot_be_opened_is_a_failure_at_once(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").mkdir()
    tracker = MlflowTracker(fit(), tmp_path)
    with pytest.raises(tracker.failures):
        tracker.begin([])
    monkeypatch.setenv("MMPIPE_MLFLOW_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MlflowTracker(fit(), tmp_path)
    with pytest.raises(tracker.failures):
        tracker.begin([])


def test_without_mlflow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmpipe\[mlflow\]'"):
        require_mlflow()
