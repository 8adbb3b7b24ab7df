"""What every epoch showed, as files for people and tools: a line of JSON each, and events for TensorBoard.

The files follow from the history alone: a run that was killed and goes on writes them anew, without gaps or doubles.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from mmpipe.io import make_directory
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.events import EVENTS_NAME, file_start, scalars_record

LOG_NAME = "log.jsonl"


class EpochLog:
    """The log of one fit, in a folder of its own or its answers' folder."""

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        self._log = folder / LOG_NAME
        self._events = folder / EVENTS_NAME if tensorboard else None

    def begin(self, history: Iterable[EpochRecord]) -> None:
        """Write what is known of epochs that are done."""
        make_directory(self._log.parent)
        self._log.write_bytes(b"")
        if self._events:
            self._events.write_bytes(file_start())
        for record in history:
            self.add(record)

    def add(self, record: EpochRecord) -> None:
        """Add an epoch."""
        with self._log.open("ab") as file:
            file.write(json.dumps(asdict(record), sort_keys=True).encode() + b"\n")
        if self._events:
            with self._events.open("ab") as file:
                file.write(scalars_record(record.epoch, scalars_of(record)))


def scalars_of(record: EpochRecord) -> dict[str, float]:
    """Return an epoch's numbers by TensorBoard tag; what was not measured is left out."""
    figures = {
        "loss/train": record.train_loss,
        "loss/validation": record.val_loss,
        f"{record.measure}/validation": record.val_score,
        "gradient_norm/all": record.gradient_norm,
        "learning_rate": record.learning_rate,
        "skipped_steps": record.skipped_steps,
        **{f"{record.measure}/{name} alone": value for name, value in record.unimodal_val_score.items()},
        **{f"gradient_norm/{name}": value for name, value in record.encoder_gradient_norms.items()},
    }
    return {tag: value for tag, value in figures.items() if value is not None}
