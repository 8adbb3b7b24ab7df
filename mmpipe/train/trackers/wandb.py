"""Fits as offline runs of W&B, in the store's `_runs/wandb`: nothing is sent until a person runs `wandb sync` there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.io import make_directory
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.log import scalars_of
from mmpipe.train.trackers.base import TrackedFit


def require_wandb() -> Any:
    """Return the package, told to report no error to anybody; refuse to go on without it."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # read when its service starts
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise ConfigError("train.trackers has wandb. Run: pip install 'mmpipe[wandb]'") from error
    return wandb


class WandbTracker:
    """Tells W&B of one fit; of this machine, its code, its packages and its environment it is told nothing."""

    def __init__(self, fit: TrackedFit, folder: Path) -> None:
        self._wandb, self._fit, self._folder = require_wandb(), fit, folder
        self.failures: tuple[type[Exception], ...] = (Exception,)  # those of its service have no class in common
        self._id = hashlib.sha256(f"{fit.checkpoint}/{fit.name}".encode()).hexdigest()[:16]
        self._run: Any = None

    def begin(self, history: Sequence[EpochRecord]) -> None:
        """Write the fit's run anew: a run offline cannot be gone on with."""
        make_directory(self._folder)
        before = list((self._folder / "wandb").glob(f"offline-run-*-{self._id}*"))
        self._run = self._wandb.init(
            project=self._fit.model,
            group=self._fit.checkpoint,
            name=self._fit.name,
            id=self._id,
            config=dict(self._fit.settings),
            dir=str(self._folder),
            reinit="create_new",  # beside any run that the caller's own program may have
            settings=self._settings(),
        )
        for old in before:
            shutil.rmtree(old, ignore_errors=True)
        for record in history:
            self.add(record)

    def add(self, record: EpochRecord) -> None:
        """Add an epoch."""
        self._run.log(scalars_of(record), step=record.epoch)

    def end(self, *, finished: bool) -> None:
        """Close the run."""
        self._run.finish(exit_code=0 if finished else 1)

    def _settings(self) -> Any:
        return self._wandb.Settings(
            mode="offline",
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            save_code=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
