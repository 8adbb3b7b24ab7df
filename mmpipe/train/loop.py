"""One network, trained: a pure function of its arguments, whether or not it was killed on the way."""

from __future__ import annotations

import copy
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mmpipe import io
from mmpipe.config import Determinism, TrainConfig, TrainDevice
from mmpipe.errors import ConfigError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.data import ClipSource, fit_preprocess, prepare_data
from mmpipe.train.deterministic import deterministic, reseed
from mmpipe.train.keeper import Keeper
from mmpipe.train.log import EpochLog
from mmpipe.train.ranks import ALONE, Ranks
from mmpipe.train.run import Run
from mmpipe.types import digest_of

OnEpoch = Callable[[EpochRecord], None]
OnStep = Callable[[int, int, int], None]  # epoch from 1, steps done in it, steps in an epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained network: the state of its best epoch by validation loss, of the last without validation clips."""

    model: FusionModel
    history: tuple[EpochRecord, ...]
    best_epoch: int
    val_loss: float | None
    seconds: float


def train_network(
    spec: ModelSpec,
    source: ClipSource,
    labels_N: np.ndarray,
    train_rows: np.ndarray,
    val_rows: np.ndarray,
    config: TrainConfig,
    seed: int,
    checkpoint_dir: Path | None = None,
    on_epoch: OnEpoch | None = None,
    threads: int = 1,
    on_step: OnStep | None = None,
    log: EpochLog | None = None,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train a network; with a checkpoint folder, go on from where the same run was killed.

    `labels_N` holds the class index of every row of the source. Of several `ranks` each is called with the same
    arguments, and has the same network in the end. Raise ConfigError for rows without a label or a checkpoint of
    another run, StoreError for features that are not finite, MmpipeError if the training diverges.
    """
    started = time.perf_counter()
    _check(spec, labels_N, train_rows, val_rows, config)
    device = _device(config, ranks)
    cuda, strict = device.type == "cuda", config.determinism is Determinism.STRICT
    cores = len(os.sched_getaffinity(0)) // ranks.size
    with deterministic(threads if strict else max(1, cores), strict=strict, cuda=cuda):
        reseed(seed, "initialise")
        model = FusionModel(spec)
        model.load_backbones()
        fit_preprocess(model, source, train_rows)
        rows = np.concatenate([train_rows, val_rows])
        data = prepare_data(copy.deepcopy(model) if cuda else model, source, rows)
        fitted = _fitted_digest(model)
        run = Run(model, data, labels_N[rows], len(train_rows), config, seed, ranks, device)
        keeper = Keeper(checkpoint_dir, _config_digest(run, rows, fitted), config, ranks)
        keeper.restore(run)
        if log:
            log.begin(run.history)
        _train(run, keeper, on_epoch, on_step, log)
        val_loss = run.finish()
    return Trained(
        model=model.eval(),
        history=tuple(run.history),
        best_epoch=run.best_epoch,
        val_loss=val_loss,
        seconds=time.perf_counter() - started,
    )


def _train(run: Run, keeper: Keeper, on_epoch: OnEpoch | None, on_step: OnStep | None, log: EpochLog | None) -> None:
    """Train to the end, keeping and telling what happens."""

    def after_step() -> None:
        keeper.after_step(run)
        if on_step:
            on_step(len(run.history) + 1, run.cursor.step, run.steps_per_epoch)

    while not run.finished:
        record = run.train_epoch(after_step)
        keeper.after_epoch(run)
        if log:
            log.add(record)
        if on_epoch:
            on_epoch(record)


def _device(config: TrainConfig, ranks: Ranks) -> torch.device:
    if config.device is TrainDevice.CPU:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError('train.device is "cuda", and torch sees no CUDA device here. Set device = "cpu"')
    torch.cuda.set_device(ranks.local)
    return torch.device("cuda", ranks.local)


def _check(
    spec: ModelSpec, labels_N: np.ndarray, train_rows: np.ndarray, val_rows: np.ndarray, config: TrainConfig
) -> None:
    if not len(train_rows):
        raise ConfigError("there are no training clips: no row has the split `train` and a label")
    if len(np.intersect1d(train_rows, val_rows)):
        raise ConfigError(f"{len(np.intersect1d(train_rows, val_rows))} rows are in both train and validation")
    labels = labels_N[np.concatenate([train_rows, val_rows])]
    bad = int(((labels < 0) | (labels >= len(spec.classes))).sum())
    if bad:
        raise ConfigError(f"{bad} of {len(labels)} rows have no label among {list(spec.classes)}; leave them out")
    for name in ("dropout", "modality_dropout"):
        if getattr(spec, name) != getattr(config, name):
            raise ConfigError(
                f"{name} is {getattr(spec, name)} in the model and {getattr(config, name)} in the "
                "training config: build the model's spec from the config"
            )


def _fitted_digest(model: FusionModel) -> str:
    fitted = hashlib.sha256()
    for name, tensor in sorted(model.named_buffers()):
        fitted.update(name.encode() + tensor.numpy().tobytes())
    return fitted.hexdigest()


def _config_digest(run: Run, rows: np.ndarray, fitted: str) -> str:
    """Return a digest over all that decides the result: spec, config, seed, clips, labels, fitted preprocessing.

    The number of processes counts where there are several: sums are split by process.
    """
    unseen = {**run.config.left_out(), "seeds": True, "checkpoint_every_epochs": True}
    config = run.config.model_dump(mode="json", exclude=unseen)
    scalars = io.canonical_json({"spec": run.model.spec.to_json(), "config": config, "seed": run.seed})
    labels = run.labels_P.numpy().tobytes()
    ranks = (run.ranks.size,) if run.ranks.size > 1 else ()
    return digest_of(scalars, run.num_train, rows.astype(np.int64).tobytes(), labels, fitted, *ranks)
