"""Fit a small encoder without labels: same seed, same bytes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mmpipe.errors import ConfigError
from mmpipe.train.data import ClipSource
from mmpipe.train.deterministic import deterministic, epoch_order, reseed
from mmpipe.train.fit_settings import FitReport, FitSettings

_CLIP_NORM = 5.0  # recurrent layers have gradients that explode
_FIT_CLIPS = 256  # whose rows tell the scale of the input


class Learner(Protocol):
    """What is fitted: a network that knows its own loss."""

    def fit_input(self, x_ND: Tensor) -> None:
        """Take up the scale of the training rows."""

    def loss(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return the mean loss of a batch; NaN where no clip is long enough to learn from."""


def fit_encoder(
    network: nn.Module,
    learner: Learner,
    source: ClipSource,
    feature: str,
    rows_N: np.ndarray,
    val_rows_N: np.ndarray,
    settings: FitSettings,
) -> FitReport:
    """Fit a network on rows of a source, on one thread; it is left with the weights that are kept, ready to embed.

    `learner` is the network, as what can be learnt from. Raise ConfigError where no clip is long enough.
    """
    train_losses, val_losses = [], []
    with deterministic(1):
        learner.fit_input(_scale_rows(source, feature, rows_N, settings))
        optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
        best, kept = float("inf"), (0, copy.deepcopy(network.state_dict()))
        for epoch in range(settings.epochs):
            reseed(settings.seed, "encoder", epoch)
            order_N = rows_N[epoch_order(len(rows_N), settings.seed, epoch)]
            train_losses.append(_train_epoch(network, learner, optimizer, source, feature, order_N, settings))
            val_losses.append(_measure(network, learner, source, feature, val_rows_N, settings))
            if not np.isfinite(val_losses[-1]) or val_losses[-1] < best:
                best = min(best, val_losses[-1]) if np.isfinite(val_losses[-1]) else best
                kept = epoch, copy.deepcopy(network.state_dict())
    if not np.isfinite(train_losses).any():
        raise ConfigError(f"no clip of the train split has enough of {feature} to learn from: its clips are too short")
    network.load_state_dict(kept[1])
    network.eval()
    return FitReport(train_losses=tuple(train_losses), val_losses=tuple(val_losses), kept_epoch=kept[0])


def _train_epoch(
    network: nn.Module,
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    source: ClipSource,
    feature: str,
    order_N: np.ndarray,
    settings: FitSettings,
) -> float:
    network.train()
    losses = []
    for x_BTD, mask_BT in _batches(source, feature, order_N, settings):
        loss = learner.loss(x_BTD, mask_BT)
        if not torch.isfinite(loss):
            continue  # none of these clips is long enough
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses)) if losses else float("nan")


def _measure(
    network: nn.Module, learner: Learner, source: ClipSource, feature: str, rows_N: np.ndarray, settings: FitSettings
) -> float:
    network.eval()
    with torch.no_grad():
        losses = [float(learner.loss(*batch)) for batch in _batches(source, feature, rows_N, settings)]
    finite = [loss for loss in losses if np.isfinite(loss)]
    return float(np.mean(finite)) if finite else float("nan")


def _batches(
    source: ClipSource, feature: str, rows_N: np.ndarray, settings: FitSettings
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(rows_N), settings.batch_clips):
        part = source.gather(rows_N[start : start + settings.batch_clips]).features[feature]
        yield (
            torch.from_numpy(part.x_BTD[:, : settings.max_rows].copy()),
            torch.from_numpy(part.mask_BT[:, : settings.max_rows].copy()),
        )


def _scale_rows(source: ClipSource, feature: str, rows_N: np.ndarray, settings: FitSettings) -> Tensor:
    """Return the real rows of some training clips, spread evenly over all."""
    stride = -(-len(rows_N) // _FIT_CLIPS)
    return torch.cat([x_BTD[mask_BT] for x_BTD, mask_BT in _batches(source, feature, rows_N[::stride], settings)])
