"""When a run is kept: every so many epochs, steps or seconds."""

from __future__ import annotations

import time
from pathlib import Path

from mmpipe.config import TrainConfig
from mmpipe.train.checkpoint import load_checkpoint, save_checkpoint
from mmpipe.train.ranks import Ranks
from mmpipe.train.run import Run


class Keeper:
    """Keeps a run in a folder; without one it keeps nothing. Of several processes rank 0 alone writes."""

    def __init__(self, directory: Path | None, config_digest: str, config: TrainConfig, ranks: Ranks) -> None:
        self._directory, self._digest, self._config = directory, config_digest, config
        self._writes = directory is not None and ranks.writes
        self._saved_s = time.monotonic()

    def restore(self, run: Run) -> None:
        """Bring a run to where the same run was kept."""
        if self._directory and (saved := load_checkpoint(self._directory, self._digest)):
            run.restore(saved)

    def after_step(self, run: Run) -> None:
        """Keep a run in the middle of an epoch where it is time."""
        if self._writes and self._is_due(run, len(run.history) * run.steps_per_epoch + run.cursor.step):
            self._save(run)

    def after_epoch(self, run: Run) -> None:
        """Keep a run between two epochs where it is time, or where it has ended."""
        epoch = len(run.history)
        is_due = epoch % self._config.checkpoint_every_epochs == 0 or self._is_due(run, epoch * run.steps_per_epoch)
        if self._writes and (run.finished or is_due):
            self._save(run)

    def _is_due(self, run: Run, steps: int) -> bool:
        every, every_s = self._config.checkpoint_every_steps, self._config.checkpoint_every_s
        return bool(every and steps % every == 0) or bool(every_s and time.monotonic() - self._saved_s >= every_s)

    def _save(self, run: Run) -> None:
        assert self._directory is not None
        save_checkpoint(self._directory, run.checkpoint(self._digest))
        self._saved_s = time.monotonic()
