"""Train one network of a training set, keeping it, logging it and telling how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.config import TrainConfig
from mmpipe.steps.progress import Progress
from mmpipe.steps.training_set import Part, TrainingSet
from mmpipe.train.ranks import Ranks

STEP_NOTE_EVERY_S = 1.0  # most steps are done sooner than a person reads


def fit_network(
    spec: Any,
    pooled: Any,
    data: TrainingSet,
    labels_N: np.ndarray,
    part: Part,
    config: TrainConfig,
    seed: int,
    *,
    kept_in: Path,
    log_in: Path,
    progress: Progress,
    note: str,
    ranks: Ranks,
) -> Any:
    """Train a network on a part's clips: its checkpoints go to one folder, its log to another (rank 0 writes them)."""
    from mmpipe.train.log import EpochLog
    from mmpipe.train.loop import train_network

    # The reader knows clips by its own rows; labels are spread out to match.
    labels_R = np.full(len(data.reader), -1, dtype=np.int64)
    labels_R[data.reader_rows_N] = labels_N
    return train_network(
        spec,
        pooled,
        labels_R,
        data.reader_rows_N[part.train_rows],
        data.reader_rows_N[part.val_rows],
        config,
        seed,
        checkpoint_dir=kept_in,
        log=EpochLog(log_in, tensorboard=config.tensorboard) if ranks.writes else None,
        on_epoch=lambda record: progress.advance("train", 0, f"{note}: {record.told(config.epochs)}"),
        on_step=_tell_steps(progress, note),
        ranks=ranks,
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
