"""Who hears of the fits of a training: their own logs, and the trackers that the config names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmpipe.config import Table, TrackerName, TrainConfig

if TYPE_CHECKING:
    from mmpipe.train.log import EpochLog


@dataclass(slots=True, kw_only=True)
class TrackedTraining:
    """One training as its trackers see it; one that failed once is not asked again."""

    model: str
    checkpoint: Path  # the training's folder
    runs: Path  # the store's folder of run records
    failed: dict[TrackerName, str] = field(default_factory=dict)

    def notes(self) -> tuple[str, ...]:
        """Return what a person is told of trackers that failed."""
        return tuple(
            f"{name.value} was told nothing more of this training: {why}; the fits' own log.jsonl are whole"
            for name, why in self.failed.items()
        )


def require_trackers(config: TrainConfig) -> None:
    """Refuse trackers that are not installed, before anything is read or trained."""
    if config.trackers:
        from mmpipe.train.trackers import log

        log.require_trackers(config.trackers)


@contextmanager
def open_log(
    log_in: Path, spec: Any, config: TrainConfig, seed: int, training: TrackedTraining | None
) -> Iterator[EpochLog]:
    """Yield the log of a fit; when the block ends, the trackers hear how."""
    from mmpipe.train.log import EpochLog
    from mmpipe.train.trackers.base import TrackedFit
    from mmpipe.train.trackers.log import TrackedLog

    names = [name for name in config.trackers if training and name not in training.failed]
    if training is None or not names:
        yield EpochLog(log_in, tensorboard=config.tensorboard)
        return
    fit = TrackedFit(
        model=training.model,
        checkpoint=training.checkpoint.name,
        name=log_in.relative_to(training.checkpoint).as_posix(),
        settings=settings_of(spec, config, seed),
    )
    log = TrackedLog(log_in, fit, names, training.runs, training.failed.__setitem__, tensorboard=config.tensorboard)
    finished = False
    try:
        yield log
        finished = True
    finally:
        log.end(finished=finished)


def settings_of(spec: Any, config: TrainConfig, seed: int) -> dict[str, bool | int | float | str]:
    """Return what decides a fit, flat: `train.learning_rate`, `encoder.width`, `fusion_options.rank`."""
    train = config.model_dump(mode="json", exclude={*TrainConfig.beside, "seeds"})
    return {
        "fusion": spec.fusion,
        "inputs": ", ".join(spec.features),
        "num_classes": len(spec.classes),
        "seed": seed,
        **{f"train.{key}": value for key, value in train.items()},
        **_flat("encoder", spec.encoder),
        **{f"fusion_options.{key}": value for key, value in spec.options.items() if not isinstance(value, Mapping)},
    }


def _flat(room: str, table: Table) -> dict[str, Any]:
    values = table.model_dump(mode="json").items()
    return {f"{room}.{key}": value for key, value in values if isinstance(value, bool | int | float | str)}
