from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_loop import CONFIG, digest, train
from toy_clips import ToySource

from mmpipe.config import TrainConfig
from mmpipe.errors import ConfigError, StoreError

CHILD = Path(__file__).with_name("train_child.py")
CONFIG_OF_CHILD = CONFIG.model_copy(update={"modality_dropout": 0.2, "patience_epochs": 50})


class Stopped(Exception):
    pass


def stop_at(epoch: int):
    def on_epoch(record) -> None:
        if record.epoch == epoch:
            raise Stopped

    return on_epoch


def child(fusion: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(CHILD), fusion, str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize("fusion", [pytest.param("late_weighted", marks=pytest.mark.slow), "transformer"])
def test_killed_and_resumed_is_equal_to_the_bit(fusion, tmp_path):
    expected = digest(train(fusion, config=CONFIG_OF_CHILD))
    epoch = str(np.random.default_rng().integers(4, 12))
    assert child(fusion, tmp_path, epoch).returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "checkpoint.json").read_text())["finished"] is False
    resumed = child(fusion, tmp_path)
    assert resumed.stdout.strip() == expected, f"killed in epoch {epoch}\n{resumed.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["write:3", "fsync:5", "replace:4"])
def test_killed_while_a_checkpoint_is_written(operation, tmp_path):
    assert child("concat", tmp_path, MMPIPE_FAULT=f"{operation}:kill").returncode == -signal.SIGKILL
    config = CONFIG_OF_CHILD.model_copy(update={"checkpoint_every_epochs": 3})
    assert digest(train("concat", config=config, checkpoint_dir=tmp_path)) == digest(train("concat", config=config))
    assert len(list(tmp_path.iterdir())) == 2  # what the kill left behind is gone


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_stopped_at_any_epoch_and_resumed_is_the_same_run(optimizer, tmp_path):
    config = TrainConfig(**{**CONFIG.model_dump(), "optimizer": optimizer, "checkpoint_every_epochs": 1, "epochs": 6})
    whole = train("early_weighted", config=config)
    for epoch in (1, 3, 5):
        with pytest.raises(Stopped):
            train("early_weighted", config=config, checkpoint_dir=tmp_path / str(epoch), on_epoch=stop_at(epoch))
        seen = []
        resumed = train("early_weighted", config=config, checkpoint_dir=tmp_path / str(epoch), on_epoch=seen.append)
        assert digest(resumed) == digest(whole)
        assert resumed.history == whole.history
        assert [record.epoch for record in seen] == list(range(epoch + 1, len(whole.history) + 1))


def test_the_best_epoch_survives_when_it_lies_before_the_stop(tmp_path):
    changes = {"learning_rate": 0.05, "epochs": 200, "checkpoint_every_epochs": 1}
    config = TrainConfig(**{**CONFIG.model_dump(), **changes})
    whole = train("unimodal", config=config)
    assert whole.best_epoch <= len(whole.history) - 2
    with pytest.raises(Stopped):
        train("unimodal", config=config, checkpoint_dir=tmp_path, on_epoch=stop_at(len(whole.history) - 1))
    resumed = train("unimodal", config=config, checkpoint_dir=tmp_path)
    assert digest(resumed) == digest(whole) and resumed.best_epoch == whole.best_epoch


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train(checkpoint_dir=tmp_path)
    seen = []
    again = train(checkpoint_dir=tmp_path, on_epoch=seen.append)
    assert not seen
    assert digest(again) == digest(first) and again.history == first.history and again.val_loss == first.val_loss


@pytest.mark.parametrize(
    "changes",
    [
        {"config": CONFIG.model_copy(update={"learning_rate": 0.01})},
        {"seed": 1},
        {"fusion": "concat"},
        {"train": np.arange(59)},
        {"val": np.arange(60, 74)},
        {"labels_N": np.roll(ToySource().labels_N, 1)},
        {"source": ToySource(seed=5), "labels_N": ToySource().labels_N},
    ],
)
def test_a_checkpoint_of_another_run_is_refused(changes, tmp_path):
    train(checkpoint_dir=tmp_path)
    with pytest.raises(ConfigError, match="is of another run"):
        train(checkpoint_dir=tmp_path, **changes)


def test_how_often_to_checkpoint_is_not_part_of_the_run(tmp_path):
    train(checkpoint_dir=tmp_path)
    train(checkpoint_dir=tmp_path, config=CONFIG.model_copy(update={"checkpoint_every_epochs": 1, "seeds": (1, 2)}))


def test_damage_is_found(tmp_path):
    train(checkpoint_dir=tmp_path)
    state = next(tmp_path.glob("state-*.safetensors"))
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    with pytest.raises(StoreError, match="does not have the sha256"):
        train(checkpoint_dir=tmp_path)
    state.unlink()
    with pytest.raises(StoreError, match="is missing"):
        train(checkpoint_dir=tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(StoreError, match="is not JSON"):
        train(checkpoint_dir=tmp_path)


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path):
    train(checkpoint_dir=tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == "checkpoint.json" and names[1].endswith(".safetensors") and len(names) == 2
