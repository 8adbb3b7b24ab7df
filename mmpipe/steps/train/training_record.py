"""All that decided some released weights, beside them: `training.json`, so that they can be made again from it alone.

It holds no clip, no path of the corpus and no clock: the data are named by the snapshot of `lineage.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from mmpipe.config import ModelConfig, SplitConfig, explain_validation
from mmpipe.errors import ConfigError
from mmpipe.io import canonical_json, replace_bytes
from mmpipe.registry.versions import Version

RECORD_NAME = "training.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """One release fit: what went in, with what it was computed, and what came out."""

    contender: str
    model: ModelConfig
    split: SplitConfig
    seed: int
    fingerprints: Mapping[str, str]  # feature -> what its values were made by
    forgotten: tuple[str, ...]  # what was missing of the snapshot already, by digest
    num_train_clips: int
    num_val_clips: int
    environment: Mapping[str, str]
    tensors_sha256: str
    best_epoch: int
    val_loss: float | None

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        table = {name: getattr(self, name) for name in self.__slots__}
        plain = {"model": self.model.model_dump(mode="json"), "split": self.split.model_dump(mode="json")}
        return canonical_json({**table, **plain, "format": FORMAT})

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Self:
        """Read what `to_bytes` wrote; raise ConfigError where this mmpipe does not understand it."""
        table: dict[str, Any] = json.loads(data)
        if table.pop("format", None) != FORMAT:
            raise ConfigError(f"{RECORD_NAME} of {where} is of another format than {FORMAT}. Use a newer mmpipe.")
        try:
            model, split = ModelConfig(**table["model"]), SplitConfig(**table["split"])
        except ValidationError as error:
            raise ConfigError(explain_validation(error, f"{RECORD_NAME} of {where}", ModelConfig)) from error
        return cls(**{**table, "model": model, "split": split, "forgotten": tuple(table["forgotten"])})


def write_record(folder: Path, record: TrainingRecord) -> None:
    """Write the record beside the weights."""
    replace_bytes(folder / RECORD_NAME, record.to_bytes())


def read_record(version: Version) -> TrainingRecord:
    """Return the record of a version; raise ConfigError for one that has none."""
    where = f"{version.name}@{version.label}"
    if RECORD_NAME not in version.files():
        checkpoint = json.loads(version.read("lineage.json")).get("checkpoint", "")
        raise ConfigError(
            f"{where} does not say how it was trained: it has no {RECORD_NAME}. "
            + (
                f"Its training is of an mmpipe that did not keep that. Remove checkpoints/{checkpoint} of the store; "
                f"train and release again: mmpipe train --model {version.name}"
                if checkpoint
                else "It is an encoder, which nothing makes again but `mmpipe feature train`."
            )
        )
    return TrainingRecord.from_bytes(version.read(RECORD_NAME), where)
