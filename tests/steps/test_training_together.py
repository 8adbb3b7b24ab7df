"""`mmpipe train` as torchrun starts it: one process writes, and the answers are those of one process alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from kill_models import MODEL

from mmpipe.evaluate.answers.files import from_parquet
from mmpipe.steps.train.train import train_model

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

TRAIN = "import sys\nfrom mmpipe.cli import main\nsys.exit(main())\n"


def toml_of(value) -> str:
    """Return a value as TOML has it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_of(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return json.dumps(value)


class Notes:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.units, self.total, self.notes = 0, 0, []

    def start(self, stage: str, total: int) -> None:
        self.total = total

    def advance(self, stage: str, units: int = 1, note: str = "") -> None:
        self.units += units
        self.notes.append(note)


def answers_of(folder) -> dict[str, np.ndarray]:
    found = sorted(folder.glob("fits/*/*/*.parquet"))
    return {str(path.relative_to(folder)): from_parquet(path.read_bytes()).probabilities_NK for path in found}


def test_two_processes_make_the_training_of_one(winning, tmp_path):
    config = winning.place(winning.extracted, tmp_path)
    table = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "mmpipe.toml").write_text("".join(f"{key} = {toml_of(value)}\n" for key, value in table.items()))
    (tmp_path / "command.py").write_text(TRAIN)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *(str(tmp_path / "command.py"), "train", "--config", str(tmp_path / "mmpipe.toml")),
            *("--model", MODEL),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("checkpoint: ") == 1  # rank 0 alone says it
    name = winning.trained.checkpoint
    folder, alone = config.store / "checkpoints" / name, winning.config.store / "checkpoints" / name
    theirs, ours = answers_of(folder), answers_of(alone)
    assert set(theirs) == set(ours) and len(ours) > 10
    for path, probabilities_NK in ours.items():
        np.testing.assert_allclose(theirs[path], probabilities_NK, atol=0.02, err_msg=path)
    scores = [json.loads((each / "checkpoint.json").read_bytes())["scores"] for each in (folder, alone)]
    assert [score["name"] for score in scores[0]] == [score["name"] for score in scores[1]]
    again = train_model(config, MODEL)
    assert again.num_fits == 0  # what torchrun trained is trained


def test_every_epoch_is_told_and_logged(winning, tmp_path):
    config = winning.place(winning.extracted, tmp_path)
    model = config.models[MODEL]
    settings = model.train.model_copy(update={"epochs": 2, "tensorboard": True})
    config = config.model_copy(update={"models": {MODEL: model.model_copy(update={"train": settings, "folds": 0})}})
    notes = Notes()
    report = train_model(config, MODEL, notes)
    assert notes.units == notes.total
    told = [note for note in notes.notes if "epoch 2 of 2, loss" in note]
    assert len(told) == report.num_fits
    folder = config.store / "checkpoints" / report.checkpoint
    logs = sorted(folder.glob("**/log.jsonl"))
    assert len(logs) == report.num_fits
    for log in logs:
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        assert [row["epoch"] for row in rows] == [1, 2]
        assert [path.name for path in log.parent.glob("*tfevents*")] != []
