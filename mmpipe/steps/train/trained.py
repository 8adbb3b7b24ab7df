"""What a finished training left behind: its scores and the table that is written last."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError

DONE_NAME = "checkpoint.json"
CONTROL = "control"
_RENAMED = {"validation_accuracy": "validation_score", "test_accuracy": "test_score"}  # as trainings of before had it


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderScore:
    """How a contender did: the mean over parts on validation, all clips together on the test."""

    name: str
    fused: bool
    validation_score: float  # in what the goal is measured by
    test_score: float


def unreleased(folder: Path) -> tuple[str, ...]:
    """Return the fused contenders of a finished training that have no weights for a release."""
    names = (score.name for score in read_scores(folder) if score.fused)
    return tuple(name for name in names if not (folder / "release" / name).is_dir())


def read_scores(folder: Path) -> tuple[ContenderScore, ...]:
    """Return the scores of a finished training."""
    rows = read_checkpoint(folder)["scores"]
    return tuple(ContenderScore(**{_RENAMED.get(name, name): value for name, value in row.items()}) for row in rows)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Return what a finished training wrote last."""
    try:
        table: dict[str, Any] = json.loads((folder / DONE_NAME).read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"no finished training at {folder}. Run: mmpipe train") from error
    return table
