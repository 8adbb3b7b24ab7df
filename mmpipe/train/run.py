"""What changes while a network trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from mmpipe.config import ClassBalance, TrainConfig
from mmpipe.errors import MmpipeError
from mmpipe.fusion.model import FusionModel
from mmpipe.train.checkpoint import Checkpoint, EpochRecord
from mmpipe.train.class_balance import balanced_order
from mmpipe.train.cursor import Cursor
from mmpipe.train.data import PreparedData
from mmpipe.train.deterministic import epoch_order, random_state, reseed, restore_random_state
from mmpipe.train.ema import WeightMean, learned
from mmpipe.train.freeze import Freezer
from mmpipe.train.goals.registry import make_objective
from mmpipe.train.mixing import fit_mixing
from mmpipe.train.optimizer import make_optimizer, optimizer_tensors, restore_optimizer
from mmpipe.train.ranks import Ranks
from mmpipe.train.schedule import rate_share, set_rate
from mmpipe.train.step import GradientMaker, StepResult
from mmpipe.train.validate import NotFinite, validate


class Run:
    """One training, step by step."""

    def __init__(
        self,
        model: FusionModel,
        data: PreparedData,
        targets_P: np.ndarray,
        num_train: int,
        config: TrainConfig,
        seed: int,
        ranks: Ranks,
        device: torch.device,
        freezer: Freezer | None = None,
        stops: Mapping[str, int] | None = None,
    ) -> None:
        self.stops = stops  # the epochs that another run chose, by expert; None: validation chooses
        self.model, self.data, self.config, self.seed = model.to(device), data, config, seed
        self.ranks, self.device, self.freezer = ranks, device, freezer
        self.targets_P = torch.from_numpy(targets_P)  # by position: training clips, then validation
        self.num_train = num_train
        self.objective = make_objective(model.spec, config, targets_P[:num_train], device)
        self.gradients = GradientMaker(model, data, self.targets_P, self.objective, config, seed, ranks, device)
        self.optimizer = make_optimizer(model, config, freezer.schedule.rates if freezer else {})
        self.mean = WeightMean(model, config.ema_decay) if config.ema_decay else None
        self.step_clips = config.batch_clips * config.accumulate_steps
        self.steps_per_epoch = -(-num_train // self.step_clips)
        self.history: list[EpochRecord] = []
        self.cursor = Cursor()
        self.best_epoch = 0  # of a network that it begins from, where that counts and none was better
        self.best: dict[str, Tensor] = {}
        self.start: EpochRecord | None = None

    @property
    def finished(self) -> bool:
        """Return whether the last epoch is done, or patience has run out."""
        epoch = len(self.history)
        if self.stops:
            return epoch >= max(self.stops.values())
        waited = epoch - self.best_epoch if self.best_epoch or self.start else 0
        return epoch >= self.config.epochs or waited >= self.config.patience_epochs

    def count_start(self) -> None:
        """Let the network that it begins from count as epoch 0: it is gone on from only where that betters it."""
        start = self._validated(EpochRecord(epoch=0, train_loss=math.nan, gradient_norm=0.0))
        if start.val_loss is not None:
            self.start = start
            self.best = {name: value.detach().clone() for name, value in learned(self.model).items()}

    def train_epoch(self, after_step: Callable[[], None]) -> EpochRecord:
        """Train one epoch, or what is left of it, look at the validation clips, remember the best.

        `after_step` is called after every step but the last.
        """
        epoch = len(self.history) + 1
        if not self.cursor.step:
            reseed(self.seed, "epoch", epoch)
        self.model.train()
        if self.freezer:
            self.freezer.apply(epoch)
        order = self._order(epoch)
        while True:
            start = self.cursor.step * self.step_clips
            self._step(order[start : start + self.step_clips], epoch)
            if self.cursor.step == self.steps_per_epoch:
                break
            after_step()
        record = self._record(epoch)
        with self.mean.applied(self.model) if self.mean else nullcontext():
            self.history.append(self._validated(record))
            self._remember_best()
        self.cursor = Cursor()
        return self.history[-1]

    def finish(self) -> float | None:
        """Go back to the best epoch, weigh the modalities on the validation clips; return the loss there."""
        self.model.cpu().load_state_dict(self.best, strict=False)  # the fitted preprocessing is in the model already
        positions = np.arange(self.num_train, len(self.targets_P))
        if self.freezer:
            self.freezer.apply(len(self.history))
        fit_mixing(self.model, self.data, positions, self.targets_P[positions], self.objective)
        record = self.history[self.best_epoch - 1] if self.best_epoch else self.start
        assert record, "without a network that counts as epoch 0 the first epoch is the best so far"
        return validate(self.model, self.data, self.targets_P, self.num_train, record, self.objective).val_loss

    @property
    def experts(self) -> tuple[str, ...]:
        """Return what has a best epoch of its own: modalities, or ("") the whole."""
        return self.model.spec.features if self.model.fusion.experts else ("",)

    def chosen_epochs(self) -> dict[str, int]:
        """Return the best epoch of each expert, the first of equals; of one without a validation loss the last."""
        losses = {
            name: [record.unimodal_val_loss.get(name) if name else record.val_loss for record in self.history]
            for name in self.experts
        }
        return {
            name: min(range(len(of)), key=lambda n, of=of: of[n]) + 1 if all(v is not None for v in of) else len(of)  # type: ignore[misc]
            for name, of in losses.items()
        }

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint of this run."""
        self.model.load_state_dict(saved.model, strict=False)
        restore_optimizer(self.optimizer, saved.optimizer)
        self.history, self.best_epoch, self.best = list(saved.history), saved.best_epoch, dict(saved.best)
        self.cursor = saved.cursor
        if self.mean:
            self.mean.restore(saved.mean, saved.mean_updates)
        if saved.random:
            restore_random_state(saved.random)

    def checkpoint(self, config_digest: str) -> Checkpoint:
        """Return the run as it stands."""
        return Checkpoint(
            config_digest=config_digest,
            epoch=len(self.history),
            best_epoch=self.best_epoch,
            finished=self.finished,
            history=tuple(self.history),
            model=learned(self.model),
            optimizer=optimizer_tensors(self.optimizer),
            best=self.best,
            determinism=self.config.determinism,
            cursor=self.cursor,
            mean=self.mean.mean if self.mean else {},
            mean_updates=self.mean.updates if self.mean else 0,
            random=random_state(cuda=self.device.type == "cuda") if self.cursor.step else {},
        )

    def _order(self, epoch: int) -> np.ndarray:
        """Return the positions of an epoch, in order."""
        if self.config.class_balance is ClassBalance.SAMPLING:
            return balanced_order(self.targets_P[: self.num_train].numpy(), self.seed, epoch)
        return epoch_order(self.num_train, self.seed, epoch)

    def _step(self, positions: np.ndarray, epoch: int) -> None:
        """Make one step, or skip it where its gradient is not finite and that is allowed."""
        self.optimizer.zero_grad()
        result = self.gradients.make(positions, epoch, self.cursor.step)
        if not result.finite:
            self._skip(result, positions, epoch)
            return
        number = (epoch - 1) * self.steps_per_epoch + self.cursor.step
        set_rate(self.optimizer, self.config.learning_rate * rate_share(self.config, number, self.steps_per_epoch))
        self.optimizer.step()
        if self.mean:
            self.mean.update(self.model)
        self.cursor = self.cursor.after(result.loss * len(positions), result.norm, len(positions))

    def _skip(self, result: StepResult, positions: np.ndarray, epoch: int) -> None:
        bad = result.bad_positions if len(result.bad_positions) else positions
        skipped = 1 + self.cursor.skipped_steps + sum(record.skipped_steps for record in self.history)
        none_is_good = self.cursor.step + 1 == self.steps_per_epoch and not self.cursor.good_steps
        if none_is_good or skipped > self.config.max_bad_steps:
            raise self._diverged(epoch, bad)
        self.optimizer.zero_grad()
        self.cursor = self.cursor.after_skipped(self.data.keys(bad[:5]))

    def _record(self, epoch: int) -> EpochRecord:
        cursor = self.cursor
        return EpochRecord(
            epoch=epoch,
            train_loss=cursor.loss_sum / cursor.clips,
            gradient_norm=cursor.norm_sum / cursor.good_steps,
            encoder_gradient_norms=self._encoder_gradient_norms(),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            skipped_steps=cursor.skipped_steps,
            skipped_clips=cursor.skipped_clips,
        )

    def _validated(self, record: EpochRecord) -> EpochRecord:
        try:
            return validate(self.model, self.data, self.targets_P, self.num_train, record, self.objective, self.ranks)
        except NotFinite as error:
            raise self._diverged(record.epoch, error.positions) from error

    def _remember_best(self) -> None:
        """Keep the network where its validation loss is the lowest so far; of experts, each one's part by its own.

        A modality that overfits early would else stop the others long before they are done. What belongs to no
        expert alone is kept with whichever came last, and so is `best_epoch`.
        """
        worse = [name for name in self.experts if not self._is_best(name)]
        if len(worse) == len(self.experts):
            return
        self.best_epoch = len(self.history)
        passed_over = tuple(prefix for name in worse for prefix in self.model.prefixes_of(name))
        kept = {name: value for name, value in learned(self.model).items() if not name.startswith(passed_over)}
        self.best |= {name: value.detach().clone() for name, value in kept.items()}

    def _is_best(self, expert: str) -> bool:
        """Say whether the last epoch has the lowest loss so far, of one modality alone or ("") of the whole."""
        if self.stops:
            return len(self.history) == self.stops[expert]
        records = [*([self.start] if self.start else ()), *self.history]
        losses = [record.unimodal_val_loss.get(expert) if expert else record.val_loss for record in records]
        last, before = losses[-1], [loss for loss in losses[:-1] if loss is not None]
        return last is None or last < min(before, default=math.inf)

    def _encoder_gradient_norms(self) -> dict[str, float]:
        return {
            name: torch.nn.utils.get_total_norm([p.grad for p in encoder.parameters() if p.grad is not None]).item()
            for name, encoder in self.model.encoders.items()
        }

    def _diverged(self, epoch: int, bad: np.ndarray) -> MmpipeError:
        keys = self.data.keys(bad[:5])
        return MmpipeError(
            f"training {self.model.spec.fusion!r} gave a loss or gradient that is not finite in epoch {epoch} (seed "
            f"{self.seed}) on {len(bad)} clip(s), among them {keys}; "
            f"lower learning_rate (now {self.config.learning_rate}), or look at those clips' features"
        )
