"""Experts of a fusion keep each its own best epoch, whatever becomes of the others, and over a kill."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_clips import AUDIO, IMAGE, NOISE, ToySource, spec_of

from mmpipe.config import TrainConfig
from mmpipe.fusion.model import FusionModel
from mmpipe.train.loop import OnEpoch, Trained, train_network

TRAIN, VAL = np.arange(60), np.arange(60, 90)
NAMES = (AUDIO.feature, IMAGE.feature)


def train(epochs: int, folder: Path | None = None, on_epoch: OnEpoch | None = None, val: np.ndarray = VAL) -> Trained:
    source = ToySource()
    config = TrainConfig(epochs=epochs, batch_clips=16, patience_epochs=20, learning_rate=0.01)
    spec = spec_of("reliability", dropout=config.dropout)
    return train_network(spec, source, source.labels_N, TRAIN, val, config, 0, folder, on_epoch)


def own_epochs(trained: Trained, names: tuple[str, ...] = NAMES) -> dict[str, int]:
    """Return the epoch of each modality's lowest loss."""
    return {name: 1 + int(np.argmin([record.unimodal_val_loss[name] for record in trained.history])) for name in names}


def parts_of(model: FusionModel, name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in model.state_dict().items() if key.startswith(model.prefixes_of(name))}


def digest(trained: Trained) -> str:
    state = sorted(trained.model.state_dict().items())
    return hashlib.sha256(b"".join(key.encode() + value.numpy().tobytes() for key, value in state)).hexdigest()


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(14)


def test_every_modality_is_kept_as_it_was_in_its_own_best_epoch(trained: Trained) -> None:
    epochs = own_epochs(trained)
    assert len(set(epochs.values())) == 2, "the toy's modalities are done at different times"
    assert trained.best_epoch == max(epochs.values())
    for name, epoch in epochs.items():
        then, now = parts_of(train(epoch).model, name), parts_of(trained.model, name)
        assert len(then) == 4  # weight and bias of the encoder and of the head
        assert all(torch.equal(then[key], now[key]) for key in then)


def test_patience_counts_from_the_last_that_got_better() -> None:
    source = ToySource()
    config = TrainConfig(epochs=60, batch_clips=16, patience_epochs=3, learning_rate=0.01)
    spec = spec_of("reliability", (IMAGE, NOISE), dropout=config.dropout)  # both are soon learnt by heart
    trained = train_network(spec, source, source.labels_N, TRAIN, VAL, config, 0)
    names = (IMAGE.feature, NOISE.feature)
    assert len(trained.history) == max(own_epochs(trained, names).values()) + 3 < 60


def test_a_killed_training_goes_on_to_the_same_network(trained: Trained, tmp_path: Path) -> None:
    def kill(record: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(14, tmp_path, lambda record: kill(record) if record.epoch == 12 else None)
    assert digest(train(14, tmp_path)) == digest(trained)


def test_without_validation_clips_the_last_epoch_is_kept() -> None:
    trained = train(3, val=np.array([], np.int64))
    assert trained.best_epoch == 3 and trained.val_loss is None


def test_other_fusions_are_kept_whole() -> None:
    source = ToySource()
    config = TrainConfig(epochs=3, batch_clips=16)
    spec = spec_of("concat", dropout=config.dropout)
    trained = train_network(spec, source, source.labels_N, TRAIN, VAL, config, 0)
    assert all(not record.unimodal_val_loss for record in trained.history)
