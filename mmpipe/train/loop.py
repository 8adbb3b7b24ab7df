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
from mmpipe.train.begin import Finetuning, begin_network
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.data import ClipSource, fit_preprocess, prepare_data
from mmpipe.train.deterministic import deterministic, reseed
from mmpipe.train.freeze import Freezer
from mmpipe.train.goals.joint import fit_goals
from mmpipe.train.goals.registry import check_targets
from mmpipe.train.imputation.network import ImputerFits
from mmpipe.train.imputation.report import ImputationReport
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
    chooser: FusionModel  # which has not learnt the validation clips; the same but after `refit`
    history: tuple[EpochRecord, ...]
    best_epoch: int  # 0: the network that it began from, which no epoch bettered
    val_loss: float | None
    seconds: float
    imputation: ImputationReport | None = None  # None: none was asked for, or there is a single modality


def train_network(
    spec: ModelSpec,
    source: ClipSource,
    targets_N: np.ndarray,
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
    finetuning: Finetuning | None = None,
    imputers: ImputerFits | None = None,
) -> Trained:
    """Train a network; with a checkpoint folder, go on from where the same run was killed.

    With `finetuning` it begins from another's weights, or learns in parts; what comes out is a plain network.
    `targets_N` holds what is true of every row of the source, as the goal has it: of classes their index. Of several
    `ranks` each is called with the same arguments, and has the same network in the end. Raise ConfigError for rows
    without a target or a checkpoint of another run, StoreError for features that are not finite, MmpipeError if the
    training diverges.
    """
    started = time.perf_counter()
    _check(spec, targets_N, train_rows, val_rows, config)
    device = _device(config, ranks)
    cuda, strict = device.type == "cuda", config.determinism is Determinism.STRICT
    cores = len(os.sched_getaffinity(0)) // ranks.size
    with deterministic(threads if strict else max(1, cores), strict=strict, cuda=cuda):
        reseed(seed, "initialise")
        model = FusionModel(spec)
        model.load_backbones()
        begun = begin_network(model, finetuning) if finetuning else None
        fit_preprocess(model, source, train_rows, begun.kept if begun else ())
        fit_goals(model, targets_N[train_rows], keeps_own=bool(begun and begun.keeps_goal))
        imputation = (imputers or ImputerFits()).give(model, source, train_rows, val_rows, config.impute)
        rows = np.concatenate([train_rows, val_rows])
        data = prepare_data(copy.deepcopy(model) if cuda else model, source, rows)
        fitted = _fitted_digest(model)
        freezer = Freezer(model, finetuning.config, begun) if finetuning and begun else None
        run = Run(model, data, targets_N[rows], len(train_rows), config, seed, ranks, device, freezer)
        keeper = Keeper(checkpoint_dir, _config_digest(run, rows, fitted, finetuning), config, ranks)
        if finetuning and finetuning.counts_start:
            run.count_start()
        keeper.restore(run)
        if log:
            log.begin(run.history)
        _train(run, keeper, on_epoch, on_step, log)
        val_loss = run.finish()
        if freezer:
            freezer.merge()
        model.eval()
        again = model
        if config.refit and len(val_rows):
            kept_in = checkpoint_dir / "refit" if checkpoint_dir else None
            again = _refit(run, source, targets_N, rows, kept_in, on_epoch, on_step)
    return Trained(
        model=again,
        chooser=model,
        history=tuple(run.history),
        best_epoch=run.best_epoch,
        val_loss=val_loss,
        seconds=time.perf_counter() - started,
        imputation=imputation,
    )


def _refit(
    run: Run,
    source: ClipSource,
    targets_N: np.ndarray,
    rows: np.ndarray,
    checkpoint_dir: Path | None,
    on_epoch: OnEpoch | None,
    on_step: OnStep | None,
) -> FusionModel:
    """Train the same network anew on all clips of a finished run, each part for as long as that run's best had been.

    What was fitted on validation clips (the weights of modalities) is taken over: there are none to fit it on.
    """
    reseed(run.seed, "initialise")
    model = FusionModel(run.model.spec)
    model.load_backbones()
    fit_preprocess(model, source, rows)
    fit_goals(model, targets_N[rows])
    stops = run.chosen_epochs()
    data = prepare_data(copy.deepcopy(model) if run.device.type == "cuda" else model, source, rows)
    fitted = digest_of(_fitted_digest(model), *(f"{name} {epoch}" for name, epoch in sorted(stops.items())))
    again = Run(model, data, targets_N[rows], len(rows), run.config, run.seed, run.ranks, run.device, stops=stops)
    keeper = Keeper(checkpoint_dir, _config_digest(again, rows, fitted, None), run.config, run.ranks)
    keeper.restore(again)
    _train(again, keeper, on_epoch, on_step, None)
    again.finish()
    with torch.no_grad():
        for name in model.fusion.mixing:
            getattr(model.fusion, name).copy_(getattr(run.model.fusion, name))
    return model.eval()


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
    spec: ModelSpec, targets_N: np.ndarray, train_rows: np.ndarray, val_rows: np.ndarray, config: TrainConfig
) -> None:
    if not len(train_rows):
        raise ConfigError("there are no training clips: no row has the split `train` and a label")
    if len(np.intersect1d(train_rows, val_rows)):
        raise ConfigError(f"{len(np.intersect1d(train_rows, val_rows))} rows are in both train and validation")
    check_targets(spec, targets_N[np.concatenate([train_rows, val_rows])])
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


def _config_digest(run: Run, rows: np.ndarray, fitted: str, finetuning: Finetuning | None) -> str:
    """Return a digest over all that decides the result: spec, config, seed, clips, labels, fitted preprocessing.

    The number of processes counts where there are several: sums are split by process.
    """
    unseen = {**run.config.left_out(), "seeds": True, "checkpoint_every_epochs": True}
    config = run.config.model_dump(mode="json", exclude=unseen)
    scalars = io.canonical_json({"spec": run.model.spec.to_json(), "config": config, "seed": run.seed})
    targets = run.targets_P.numpy().tobytes()
    ranks = (run.ranks.size,) if run.ranks.size > 1 else ()
    begun = (finetuning.digest,) if finetuning else ()
    return digest_of(scalars, run.num_train, rows.astype(np.int64).tobytes(), targets, fitted, *ranks, *begun)
