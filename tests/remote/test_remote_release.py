"""A model that is trained and released into a bucket by one machine, and used and taken back by another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kill_corpus import CORPUS, DT
from kill_models import MODEL, model_table, write_pairs_that_need_both

from mmpipe.cli.main import main
from mmpipe.config import parse_config
from mmpipe.registry.aliases import read_events
from mmpipe.registry.versions import SUMS_NAME, VERSION_NAME, list_versions, local_version, publish_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.promotion import promote_version, roll_back
from mmpipe.steps.release.release import release_model, release_reason
from mmpipe.steps.train.train import train_model
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.audit import read_events as read_audit
from mmpipe.store.layout import StoreLayout


@pytest.mark.sweep
@pytest.mark.usefixtures("warm_workers")
def test_released_here_used_and_taken_back_there(s3_root: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    write_pairs_that_need_both(tmp_path / "media")
    table = model_table(tmp_path, "whole") | {"store": str(s3_root)}
    table["models"][MODEL] |= {"folds": 2, "train": {**table["models"][MODEL]["train"], "epochs": 20}}
    config = parse_config(table)
    layout = StoreLayout(config.store)
    files = sorted((tmp_path / "media").glob("clip-0[0-3].*"))
    with shared_engine(config):
        ingest_corpus(config, CORPUS, DT)
        extract_plan(config, plan_corpus(config, CORPUS))
        trained = train_model(config, MODEL)
        released = release_model(config, MODEL, trained.checkpoint)
        assert released.production == released.version
        assert release_reason(config, MODEL) == ""
        here = predict_files(config, files, MODEL)

        monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "other machine"))
        assert not layout.checkpoints.exists()
        there = predict_files(config, files, f"{MODEL}@production")
    assert here.answers == there.answers and len(there.answers) == 4 and not there.unanswered
    assert {answer.said["label"] for answer in there.answers} == {"ax", "bx", "ay", "by"}

    folder = local_version(list_versions(layout.models, MODEL)[0])
    content = {path.name: path for path in folder.iterdir() if path.name not in (SUMS_NAME, VERSION_NAME)}
    second = publish_version(
        layout.models, MODEL, content | {"README.md": b"another card"}, status="candidate", recipe_digest="r2"
    )
    assert promote_version(layout, MODEL, second.label, why="a try").previous == released.version
    assert predict_files(config, [], MODEL).version == second.label
    assert roll_back(layout, MODEL, why="it did not help").production == released.version
    assert [event["action"] for event in read_events(layout.models, MODEL)] == [
        "nominate",
        "promote",
        "promote",
        "rollback",
    ]
    assert [event.kind for event in read_audit(layout)][-2:] == ["promote", "rollback"]

    (tmp_path / "mmpipe.toml").write_text(f'store = "{s3_root}"\n')
    capfd.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main(["models", "ls", "--json", "--config", str(tmp_path / "mmpipe.toml")])
    rows = json.loads(capfd.readouterr().out)
    assert [(row["version"], row["aliases"]) for row in rows] == [
        (released.version, "candidate, production"),
        (second.label, ""),
    ]
