"""The learning rate over a run: a pure function of the step, so that nothing of it needs to be kept."""

from __future__ import annotations

import math

import torch

from mmpipe.config import ScheduleName, TrainConfig


def rate_share(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return the share of the learning rate that a step (from 0) has.

    Of w warm-up steps, step t < w has (t + 1) / w. After them, with p from 0 to 1 over what is left of all epochs and
    f the final share: cosine f + (1 - f) (1 + cos pi p) / 2 (Loshchilov & Hutter 2017, without restarts), linear
    1 - (1 - f) p, step factor^floor(epoch / step_epochs) with epochs from 0.
    """
    warmup = config.warmup_steps or round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    last = max(config.epochs * steps_per_epoch - 1, warmup)
    passed = (step - warmup) / max(last - warmup, 1)
    if config.schedule is ScheduleName.COSINE:
        return config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * passed)) / 2
    if config.schedule is ScheduleName.LINEAR:
        return 1 - (1 - config.final_rate) * passed
    if config.schedule is ScheduleName.STEP:
        return config.step_factor ** (step // steps_per_epoch // config.step_epochs)
    return 1.0


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of the optimiser this learning rate, times its own share where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)
