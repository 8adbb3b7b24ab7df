"""Train one network of a training set, keeping it, logging it and telling how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.config import TrainConfig
from mmpipe.steps.ground.progress import Progress
from mmpipe.steps.train.fit_log import TrackedTraining, open_log
from mmpipe.steps.train.training_set import Part, TrainingSet
from mmpipe.train.ranks import Ranks

STEP_NOTE_EVERY_S = 1.0  # most steps are done sooner than a person reads


def fit_network(
    spec: Any,
    pooled: Any,
    data: TrainingSet,
    targets_N: np.ndarray,
    part: Part,
    config: TrainConfig,
    seed: int,
    *,
    kept_in: Path | None,
    log_in: Path | None,
    progress: Progress,
    note: str,
    ranks: Ranks,
    tracked: TrackedTraining | None = None,
    finetuning: Any = None,
    imputers: Any = None,
    on_epoch: Callable[[Any], None] | None = None,
) -> Any:
    """Train a network on a part's clips: its checkpoints go to one folder, its log to another (rank 0 writes them).

    Without folders nothing is written. Epochs are told as progress, or to `on_epoch`, which may end it by an error.
    """
    from mmpipe.train.loop import train_network

    # The reader knows clips by its own rows; targets are spread out to match.
    packed_N = data.packed(targets_N)
    targets_R = np.full((len(data.reader), *packed_N.shape[1:]), -1, dtype=packed_N.dtype)
    targets_R[data.reader_rows_N] = packed_N
    with open_log(log_in, spec, config, seed, tracked) if ranks.writes and log_in else nullcontext() as log:
        return train_network(
            spec,
            pooled,
            targets_R,
            data.reader_rows_N[data.taught(part.train_rows)],
            data.reader_rows_N[data.taught(part.val_rows)],
            config,
            seed,
            checkpoint_dir=kept_in,
            log=log,
            on_epoch=on_epoch or (lambda record: progress.advance("train", 0, f"{note}: {record.told(config.epochs)}")),
            on_step=_tell_steps(progress, note),
            ranks=ranks,
            finetuning=finetuning,
            imputers=imputers,
        )


def _tell_steps(progress: Progress, note: str) -> Callable[[int, int, int], None]:
    """Return who tells of steps, now and then."""
    told_s = time.monotonic()

    def tell(epoch: int, step: int, steps: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= STEP_NOTE_EVERY_S:
            told_s = time.monotonic()
            progress.advance("train", 0, f"{note}: epoch {epoch}, step {step} of {steps}")

    return tell
