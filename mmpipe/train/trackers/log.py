"""The log of a fit, and whoever else is told what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mmpipe.config import TrackerName
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.log import EpochLog
from mmpipe.train.trackers.base import TrackedFit, Tracker
from mmpipe.train.trackers.mlflow import MlflowTracker, require_mlflow
from mmpipe.train.trackers.wandb import WandbTracker, require_wandb

_REQUIRE = {TrackerName.MLFLOW: require_mlflow, TrackerName.WANDB: require_wandb}
_TRACKERS: dict[TrackerName, Callable[[TrackedFit, Path], Tracker]] = {
    TrackerName.MLFLOW: MlflowTracker,
    TrackerName.WANDB: WandbTracker,
}
OnFailure = Callable[[TrackerName, str], None]


def require_trackers(names: Iterable[TrackerName]) -> None:
    """Raise the ConfigError of a tracker that is not installed."""
    for name in names:
        _REQUIRE[name]()


class TrackedLog(EpochLog):
    """The log of a fit that tells trackers too; one that fails is told nothing more, and the fit goes on."""

    def __init__(
        self,
        log_in: Path,
        fit: TrackedFit,
        trackers: Sequence[TrackerName],
        tracked_in: Path,
        on_failure: OnFailure,
        *,
        tensorboard: bool = False,
    ) -> None:
        super().__init__(log_in, tensorboard=tensorboard)
        self._trackers = {name: _TRACKERS[name](fit, tracked_in) for name in trackers}
        self._on_failure = on_failure

    def begin(self, history: Iterable[EpochRecord]) -> None:
        """Write what is known of epochs that are done."""
        known = tuple(history)
        super().begin(())
        for record in known:
            super().add(record)
        self._tell(lambda tracker: tracker.begin(known))

    def add(self, record: EpochRecord) -> None:
        """Add an epoch."""
        super().add(record)
        self._tell(lambda tracker: tracker.add(record))

    def end(self, *, finished: bool) -> None:
        """Say that the fit has finished, or has failed."""
        self._tell(lambda tracker: tracker.end(finished=finished))

    def _tell(self, say: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                say(tracker)
            except tracker.failures as error:
                del self._trackers[name]
                self._on_failure(name, type(error).__name__)
