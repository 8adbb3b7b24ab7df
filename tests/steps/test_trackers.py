"""A training tells its trackers what its own logs hold; one that fails costs a note, one that is missing stops it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from kill_corpus import CORPUS, DT
from kill_models import MODEL, copy_store, model_table, write_pairs_that_need_both

from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.train.train import train_model
from mmpipe.train.trackers.mlflow import require_mlflow

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a corpus and a store that has its features."""
    folder = tmp_path_factory.mktemp("tracked")
    write_pairs_that_need_both(folder / "media")
    config = parse_config(model_table(folder, "whole"))
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS))
    return folder


def tracked(extracted: Path, folder: Path, *trackers: str) -> Config:
    """Return a config over a copy of the store whose trainings are tracked."""
    copy_store(extracted / "store", folder / "store")
    table = model_table(extracted, "whole")
    table["store"] = str(folder / "store")
    model = table["models"][MODEL]
    model |= {"folds": 2}
    model["train"] |= {"epochs": 3, "trackers": list(trackers)}
    return parse_config(table)


def test_every_fit_is_a_run_that_holds_what_its_log_does(extracted, tmp_path, monkeypatch):
    monkeypatch.delenv("MMPIPE_MLFLOW_URI", raising=False)
    config = tracked(extracted, tmp_path, "mlflow", "wandb")
    made = train_model(config, MODEL)
    assert made.notes == ()
    folder = config.store / "checkpoints" / made.checkpoint
    logs = {path.parent.relative_to(folder).as_posix(): path for path in folder.rglob("log.jsonl")}
    assert len(logs) == made.num_fits == 2 * 3 + 1 + 2
    client = require_mlflow().tracking.MlflowClient(tracking_uri=f"sqlite:///{config.store / '_runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(f"mmpipe/{MODEL}").experiment_id
    runs = {run.data.tags["mmpipe.fit"]: run for run in client.search_runs([experiment])}
    assert runs.keys() == logs.keys()
    for fit, run in runs.items():
        assert run.data.tags["mmpipe.checkpoint"] == made.checkpoint and run.info.status == "FINISHED"
        told = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "loss/validation")}
        kept = [json.loads(line) for line in logs[fit].read_text().splitlines()]
        assert told == pytest.approx({record["epoch"]: record["val_loss"] for record in kept})
    params = runs["fits/concat/part-1-seed-0"].data.params
    assert (params["fusion"], params["encoder.width"], params["train.epochs"]) == ("concat", "8", "3")
    assert str(config.store) not in str(params)
    assert len(list((config.store / "_runs" / "wandb").glob("offline-run-*"))) == len(logs)
    assert train_model(config, MODEL).num_fits == 0
    assert len(client.search_runs([experiment])) == len(logs)


def test_trackers_are_no_part_of_what_a_training_is_and_one_that_fails_stops_nothing(extracted, tmp_path):
    config = tracked(extracted, tmp_path, "mlflow")
    (config.store / "_runs" / "mlflow.db").mkdir(parents=True)
    made = train_model(config, MODEL)
    (note,) = made.notes
    assert note.startswith("mlflow was told nothing more of this training: OperationalError")
    (tmp_path / "plain").mkdir()
    plain = tracked(extracted, tmp_path / "plain")
    assert (train_model(plain, MODEL).checkpoint, made.num_fits) == (made.checkpoint, 9)


def test_a_missing_extra_stops_a_training_before_anything_is_made(extracted, tmp_path, monkeypatch):
    config = tracked(extracted, tmp_path, "wandb")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmpipe\[wandb\]'"):
        train_model(config, MODEL)
    assert not list(config.store.glob("checkpoints/*"))
