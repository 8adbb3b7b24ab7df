"""A run that is stopped or killed between any two steps goes on to the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_loop import CONFIG, digest, having, train
from toy_clips import AUDIO, IMAGE

from mmpipe.config import EncoderConfig
from mmpipe.train.checkpoint import load_checkpoint
from mmpipe.train.log import LOG_NAME, EpochLog

CHILD = Path(__file__).with_name("steps_child.py")
ENCODER = EncoderConfig(segments=3, components=0, width=16)
EVERYTHING = having(
    CONFIG,
    epochs=3,
    batch_clips=6,
    accumulate_steps=2,  # 60 clips are 5 steps
    patience_epochs=50,
    optimizer="adamw",
    schedule="cosine",
    warmup_steps=3,
    ema_decay=0.9,
    mixup_alpha=0.4,
    mask_segments=1,
    mask_dimensions=2,
    modality_dropout=0.2,
    class_balance="sampling",
    balance_alpha=0.5,
    checkpoint_every_steps=1,
    checkpoint_every_epochs=3,
)
STEPS = [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3, 4)]


class Stopped(Exception):
    pass


def train_all(config=EVERYTHING, **more):
    return train("early_weighted", config=config, spec={"encoder": ENCODER, "inputs": (AUDIO, IMAGE)}, **more)


def stop_at(place: tuple[int, int]):
    def on_step(epoch: int, step: int, steps: int) -> None:
        assert steps == 5
        if (epoch, step) == place:
            raise Stopped

    return on_step


@pytest.fixture(scope="module")
def whole():
    return train_all()


@pytest.mark.parametrize("every", [2, 3])
def test_stopped_between_two_checkpoints_and_resumed_is_the_same_run(every, whole, tmp_path):
    config = having(EVERYTHING, checkpoint_every_steps=every)
    for place in STEPS[every - 1 :: every]:
        folder = tmp_path / f"{place}"
        with pytest.raises(Stopped):
            train_all(config, checkpoint_dir=folder, on_step=stop_at(place))
        cursor = json.loads((folder / "checkpoint.json").read_text())
        done = 5 * cursor["epoch"] + cursor["cursor"]["step"]
        assert done == (5 * (place[0] - 1) + place[1]) // every * every
        resumed = train_all(config, checkpoint_dir=folder)
        assert digest(resumed) == digest(whole), place
        assert resumed.history == whole.history


def test_a_run_stopped_again_and_again_comes_to_the_same_end(whole, tmp_path):
    for place in STEPS:
        with pytest.raises(Stopped):
            train_all(checkpoint_dir=tmp_path, on_step=stop_at(place))
    resumed = train_all(checkpoint_dir=tmp_path)
    assert (digest(resumed), resumed.history) == (digest(whole), whole.history)
    assert len(list(tmp_path.iterdir())) == 2


def test_killed_at_a_random_step_and_resumed_is_equal_to_the_bit(whole, tmp_path):
    step = str(
        np.random.default_rng().choice([place for place in range(1, 15) if place % 5])
    )  # the last of 5 is no call
    command = [sys.executable, str(CHILD), str(tmp_path), step]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    head = json.loads((tmp_path / "checkpoint.json").read_text())
    assert 5 * head["epoch"] + head["cursor"]["step"] in (int(step) - 1, int(step)), step
    resumed = train_all(checkpoint_dir=tmp_path)
    assert (digest(resumed), resumed.history) == (digest(whole), whole.history), f"killed at step {step}"


@pytest.mark.slow
def test_killed_while_a_step_is_kept(whole, tmp_path):
    environment = {**os.environ, "MMPIPE_FAULT": "replace:11:kill"}
    killed = subprocess.run([sys.executable, str(CHILD), str(tmp_path), "0"], capture_output=True, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = train_all(checkpoint_dir=tmp_path)
    assert (digest(resumed), resumed.history) == (digest(whole), whole.history)
    assert len(list(tmp_path.iterdir())) == 2


def test_seconds_say_when_to_keep_a_run_too(whole, tmp_path):
    config = having(EVERYTHING, checkpoint_every_steps=0, checkpoint_every_s=1e-9)
    with pytest.raises(Stopped):
        train_all(config, checkpoint_dir=tmp_path, on_step=stop_at((2, 3)))
    assert json.loads((tmp_path / "checkpoint.json").read_text())["cursor"]["step"] == 3
    assert digest(train_all(config, checkpoint_dir=tmp_path)) == digest(whole)


def test_how_often_to_keep_a_run_changes_no_digest(tmp_path):
    with pytest.raises(Stopped):
        train_all(checkpoint_dir=tmp_path, on_step=stop_at((2, 3)))
    train_all(having(EVERYTHING, checkpoint_every_steps=0, tensorboard=True), checkpoint_dir=tmp_path)


def test_the_level_of_determinism_is_kept(tmp_path):
    train_all(having(EVERYTHING, epochs=1, determinism="fast"), checkpoint_dir=tmp_path)
    head = json.loads((tmp_path / "checkpoint.json").read_text())
    assert head["determinism"] == "fast"
    saved = load_checkpoint(tmp_path, head["config_digest"])
    assert saved is not None and saved.determinism == "fast"


def test_a_checkpoint_of_the_version_before_is_still_read(tmp_path):
    """It had no cursor, no mean of weights and no word on determinism."""
    config = having(CONFIG, epochs=4, patience_epochs=50, checkpoint_every_epochs=1)

    def stop(record) -> None:
        if record.epoch == 2:
            raise Stopped

    whole = train(config=config)
    with pytest.raises(Stopped):
        train(config=config, checkpoint_dir=tmp_path, on_epoch=stop)
    head = json.loads((tmp_path / "checkpoint.json").read_text())
    for name in ("cursor", "mean_updates", "determinism"):
        del head[name]
    for row in head["history"]:
        for name in ("learning_rate", "skipped_steps", "skipped_clips"):
            del row[name]
    (tmp_path / "checkpoint.json").write_text(json.dumps({**head, "format": 1}))
    assert digest(train(config=config, checkpoint_dir=tmp_path)) == digest(whole)


def test_the_log_of_a_run_that_was_stopped_is_that_of_one_that_was_not(whole, tmp_path):
    train_all(log=EpochLog(tmp_path / "undisturbed", tensorboard=True))
    for place in ((2, 3), (3, 1), (9, 9)):
        try:
            train_all(
                checkpoint_dir=tmp_path / "kept",
                on_step=stop_at(place),
                log=EpochLog(tmp_path / "stopped", tensorboard=True),
            )
        except Stopped:
            assert place != (9, 9)
    names = sorted(path.name for path in (tmp_path / "undisturbed").iterdir())
    assert LOG_NAME in names and len(names) == 2
    for name in names:
        assert (tmp_path / "undisturbed" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "stopped" / LOG_NAME).read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["val_loss"] for row in rows] == [record.val_loss for record in whole.history]
    assert (
        set(rows[0]["encoder_gradient_norms"])
        == set(rows[0]["unimodal_val_score"])
        == {
            AUDIO.feature,
            IMAGE.feature,
        }
    )
