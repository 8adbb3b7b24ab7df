"""One network, trained: a pure function of its arguments, whether or not it was killed on the way."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmpipe import io
from mmpipe.config import TrainConfig
from mmpipe.errors import ConfigError, MmpipeError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.checkpoint import Checkpoint, EpochRecord, load_checkpoint, save_checkpoint
from mmpipe.train.data import ClipSource, PreparedData, fit_preprocess, prepare_data
from mmpipe.train.deterministic import deterministic, epoch_order, reseed
from mmpipe.train.losses import fused_loss, training_loss
from mmpipe.train.mixing import fit_mixing
from mmpipe.train.optimizer import make_optimizer, optimizer_tensors, restore_optimizer
from mmpipe.types import digest_of

EVALUATION_CLIPS = 1024
OnEpoch = Callable[[EpochRecord], None]


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
) -> Trained:
    """Train a network; with a checkpoint folder, go on from where the same run was killed.

    `labels_N` holds the class index of every row of the source. Raise ConfigError for rows without a label or a
    checkpoint of another run, StoreError for features that are not finite, MmpipeError if the training diverges.
    """
    started = time.perf_counter()
    _check(spec, labels_N, train_rows, val_rows, config)
    with deterministic(threads):
        reseed(seed, "initialise")
        model = FusionModel(spec)
        fit_preprocess(model, source, train_rows)
        rows = np.concatenate([train_rows, val_rows])
        run = _Run(model, prepare_data(model, source, rows), labels_N[rows], len(train_rows), config, seed)
        digest = _config_digest(run, rows)
        if checkpoint_dir and (saved := load_checkpoint(checkpoint_dir, digest)):
            run.restore(saved)
        while not run.finished:
            record = run.train_epoch()
            if checkpoint_dir and (run.finished or record.epoch % config.checkpoint_every_epochs == 0):
                save_checkpoint(checkpoint_dir, run.checkpoint(digest))
            if on_epoch:
                on_epoch(record)
        val_loss = run.finish()
    return Trained(
        model=model.eval(),
        history=tuple(run.history),
        best_epoch=run.best_epoch,
        val_loss=val_loss,
        seconds=time.perf_counter() - started,
    )


class _Run:
    """What changes while a network trains."""

    def __init__(
        self,
        model: FusionModel,
        data: PreparedData,
        labels_P: np.ndarray,
        num_train: int,
        config: TrainConfig,
        seed: int,
    ) -> None:
        self.model, self.data, self.config, self.seed = model, data, config, seed
        self.labels_P = torch.from_numpy(labels_P.astype(np.int64))  # by position: training clips, then validation
        self.num_train = num_train
        self.optimizer = make_optimizer(model, config)
        self.parameters = list(model.parameters())
        self.history: list[EpochRecord] = []
        self.best_epoch = 0
        self.best: dict[str, Tensor] = {}

    @property
    def finished(self) -> bool:
        """Return whether the last epoch is done, or patience has run out."""
        epoch = len(self.history)
        waited = epoch - self.best_epoch if self.best_epoch else 0
        return epoch >= self.config.epochs or waited >= self.config.patience_epochs

    def train_epoch(self) -> EpochRecord:
        """Train one epoch, look at the validation clips, remember the best."""
        epoch = len(self.history) + 1
        reseed(self.seed, "epoch", epoch)
        self.model.train()
        order = epoch_order(self.num_train, self.seed, epoch)
        steps = [
            self._step(order[start : start + self.config.batch_clips], epoch)
            for start in range(0, self.num_train, self.config.batch_clips)
        ]
        loss_sum, norm_sum, clips = (sum(column) for column in zip(*steps, strict=True))
        record = EpochRecord(
            epoch=epoch,
            train_loss=loss_sum / clips,
            gradient_norm=norm_sum / len(steps),
            encoder_gradient_norms=self._encoder_gradient_norms(),
        )
        self.history.append(self._validated(record))
        self._remember_best()
        return self.history[-1]

    def finish(self) -> float | None:
        """Go back to the best epoch, weigh the modalities on the validation clips; return the loss there."""
        self.model.load_state_dict(self.best, strict=False)  # the fitted preprocessing is in the model already
        positions = np.arange(self.num_train, len(self.labels_P))
        fit_mixing(self.model, self.data, positions, self.labels_P[positions])
        return self._validated(self.history[self.best_epoch - 1]).val_loss

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint of this run."""
        self.model.load_state_dict(saved.model, strict=False)
        restore_optimizer(self.optimizer, saved.optimizer)
        self.history, self.best_epoch, self.best = list(saved.history), saved.best_epoch, dict(saved.best)

    def checkpoint(self, config_digest: str) -> Checkpoint:
        """Return the run as it stands."""
        return Checkpoint(
            config_digest=config_digest,
            epoch=len(self.history),
            best_epoch=self.best_epoch,
            finished=self.finished,
            history=tuple(self.history),
            model=dict(self.model.named_parameters()),
            optimizer=optimizer_tensors(self.optimizer),
            best=self.best,
        )

    def _step(self, positions: np.ndarray, epoch: int) -> tuple[float, float, int]:
        """Make one step; return the batch's summed loss, the gradient norm and the number of clips."""
        prepared = hide_modalities(self.data.take(positions), self.model.spec.modality_dropout)
        loss, clip_losses_B = training_loss(
            self.model.forward_prepared(prepared),
            self.labels_P[positions],
            prepared,
            label_smoothing=self.config.label_smoothing,
            unimodal_weight=self.config.unimodal_weight,
        )
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm).item()
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise self._diverged(epoch, positions, clip_losses_B)
        self.optimizer.step()
        return value * len(positions), norm, len(positions)

    def _validated(self, record: EpochRecord) -> EpochRecord:
        """Return the record with the validation clips' figures."""
        num_val = len(self.labels_P) - self.num_train
        if not num_val:
            return record
        self.model.eval()
        loss, hits, unimodal_hits = 0.0, 0, dict.fromkeys(self.model.unimodal_heads, 0)
        for start in range(self.num_train, len(self.labels_P), EVALUATION_CLIPS):
            positions = np.arange(start, min(start + EVALUATION_CLIPS, len(self.labels_P)))
            labels_B = self.labels_P[positions]
            with torch.no_grad():
                out = self.model.forward_prepared(self.data.take(positions))
                losses_B = fused_loss(out, labels_B)
            if not torch.isfinite(losses_B).all():
                raise self._diverged(record.epoch, positions, losses_B)
            loss += losses_B.sum().item()
            hits += _num_hits(out.logits_BK, labels_B)
            for name, logits_BK in out.per_modality.items():
                unimodal_hits[name] += _num_hits(logits_BK, labels_B)
        accuracies = {name: count / num_val for name, count in unimodal_hits.items()}
        return replace(record, val_loss=loss / num_val, val_accuracy=hits / num_val, unimodal_val_accuracy=accuracies)

    def _remember_best(self) -> None:
        record, best = self.history[-1], self.history[self.best_epoch - 1]
        if not self.best_epoch or record.val_loss is None or record.val_loss < (best.val_loss or math.inf):
            self.best_epoch = record.epoch
            self.best = {name: value.detach().clone() for name, value in self.model.named_parameters()}

    def _encoder_gradient_norms(self) -> dict[str, float]:
        return {
            name: torch.nn.utils.get_total_norm([p.grad for p in encoder.parameters() if p.grad is not None]).item()
            for name, encoder in self.model.encoders.items()
        }

    def _diverged(self, epoch: int, positions: np.ndarray, clip_losses_B: Tensor) -> MmpipeError:
        bad = positions[~torch.isfinite(clip_losses_B).numpy()]
        keys = self.data.keys((bad if len(bad) else positions)[:5])
        return MmpipeError(
            f"training {self.model.spec.fusion!r} gave a loss or gradient that is not finite in epoch {epoch} (seed "
            f"{self.seed}) on {len(bad) or len(positions)} clip(s), among them {keys}; "
            f"lower learning_rate (now {self.config.learning_rate}), or look at those clips' features"
        )


def hide_modalities(prepared: Mapping[str, Prepared], chance: float) -> Mapping[str, Prepared]:
    """Hide each modality of each clip with this chance, never the last one that is present (modality dropout)."""
    if not chance or len(prepared) < 2:
        return prepared
    present_BM = torch.stack([part.present_B for part in prepared.values()], 1)
    kept_BM = present_BM & (torch.rand(present_BM.shape) >= chance)
    kept_BM = torch.where(kept_BM.any(1, keepdim=True), kept_BM, present_BM)
    return {
        name: replace(part, present_B=kept_B)
        for (name, part), kept_B in zip(prepared.items(), kept_BM.unbind(1), strict=True)
    }


def _num_hits(logits_BK: Tensor | None, labels_B: Tensor) -> int:
    return 0 if logits_BK is None else int((logits_BK.argmax(1) == labels_B).sum())


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


def _config_digest(run: _Run, rows: np.ndarray) -> str:
    """Return a digest over all that decides the result: spec, config, seed, clips, labels, fitted preprocessing."""
    config = run.config.model_dump(mode="json", exclude={"seeds", "checkpoint_every_epochs"})
    scalars = io.canonical_json({"spec": run.model.spec.to_json(), "config": config, "seed": run.seed})
    fitted = hashlib.sha256()
    for name, tensor in sorted(run.model.named_buffers()):
        fitted.update(name.encode() + tensor.numpy().tobytes())
    labels = run.labels_P.numpy().tobytes()
    return digest_of(scalars, run.num_train, rows.astype(np.int64).tobytes(), labels, fitted.hexdigest())
