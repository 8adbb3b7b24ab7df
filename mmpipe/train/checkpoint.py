"""Where a killed training run goes on: tensors in safetensors, scalars in JSON, nothing ever unpickled.

    state-000010.safetensors          network, optimiser, mean of weights, best network so far
    state-000010-000003.safetensors   the same three steps into the next epoch, with the random state
    checkpoint.json                   epoch, cursor, history, config digest, and the state's name and sha256

`checkpoint.json` is replaced last, in one step: it always names a complete state, whenever the run is killed.
Every epoch seeds itself from (seed, epoch): between two epochs there is no random state to keep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from mmpipe import io
from mmpipe.config import Determinism
from mmpipe.errors import ConfigError, StoreError
from mmpipe.train.cursor import Cursor
from mmpipe.words import counted

_HEAD = "checkpoint.json"
_FORMAT = 2
_RENAMED = {"val_accuracy": "val_score", "unimodal_val_accuracy": "unimodal_val_score"}  # as runs of before had it
_READABLE = (1, 2)  # 1 had no cursor, no mean of weights and no determinism


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What one epoch showed; validation figures are None without validation clips."""

    epoch: int  # from 1
    train_loss: float  # mean over the epoch, with dropout, smoothing and the unimodal losses
    gradient_norm: float  # mean over the steps, before clipping
    val_loss: float | None = None  # without smoothing and class weights
    val_score: float | None = None  # in `measure`; more is better
    unimodal_val_score: Mapping[str, float] = field(default_factory=dict)
    unimodal_val_loss: Mapping[str, float] = field(
        default_factory=dict
    )  # of experts: of the fusion, the others missing
    encoder_gradient_norms: Mapping[str, float] = field(default_factory=dict)  # of the last step, after clipping
    learning_rate: float | None = None  # of the last step
    skipped_steps: int = 0  # whose gradient was not finite
    skipped_clips: Sequence[str] = ()  # keys of some clips in them
    measure: str = "accuracy"

    def told(self, epochs: int) -> str:
        """Return the epoch in words, of so many at most."""
        said = f"epoch {self.epoch} of {epochs}, loss {self.train_loss:.3f}"
        if self.val_loss is not None and self.val_score is not None:
            said += f", validation {self.val_loss:.3f}, {self.measure} {self.val_score:.3f}"
        return f"{said}, {counted(self.skipped_steps, 'step')} skipped" if self.skipped_steps else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A run between two steps; `cursor.step` 0 is between two epochs."""

    config_digest: str
    epoch: int
    best_epoch: int
    finished: bool
    history: tuple[EpochRecord, ...]
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    determinism: str = Determinism.STRICT
    cursor: Cursor = field(default_factory=Cursor)
    mean: Mapping[str, Tensor] = field(default_factory=dict)  # of the weights; empty where none is kept
    mean_updates: int = 0
    random: Mapping[str, Tensor] = field(default_factory=dict)  # in the middle of an epoch


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Make a checkpoint durable in place of the last one."""
    data = safetensors.torch.save(
        {
            **{f"model/{name}": tensor.contiguous() for name, tensor in checkpoint.model.items()},
            **{f"best/{name}": tensor.contiguous() for name, tensor in checkpoint.best.items()},
            **{f"mean/{name}": tensor.contiguous() for name, tensor in checkpoint.mean.items()},
            **{f"random/{name}": tensor for name, tensor in checkpoint.random.items()},
            **dict(checkpoint.optimizer),
        }
    )
    step = f"-{checkpoint.cursor.step:06d}" if checkpoint.cursor.step else ""
    state = io.make_directory(directory) / f"state-{checkpoint.epoch:06d}{step}.safetensors"
    io.replace_bytes(state, data)
    head = {
        "format": _FORMAT,
        "config_digest": checkpoint.config_digest,
        "epoch": checkpoint.epoch,
        "best_epoch": checkpoint.best_epoch,
        "finished": checkpoint.finished,
        "determinism": checkpoint.determinism,
        "cursor": asdict(checkpoint.cursor),
        "mean_updates": checkpoint.mean_updates,
        "history": [asdict(record) for record in checkpoint.history],
        "state": state.name,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    io.replace_bytes(directory / _HEAD, io.canonical_json(head))
    for old in sorted([*directory.glob("state-*.safetensors"), *directory.glob(".*.tmp")]):
        if old != state:
            old.unlink(missing_ok=True)


def load_checkpoint(directory: Path, config_digest: str) -> Checkpoint | None:
    """Return the checkpoint of a folder, None where there is none; refuse one of another config or other data."""
    try:
        head = json.loads((directory / _HEAD).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{directory / _HEAD} is not JSON: {error}; delete the folder to train anew") from error
    if head.get("format") not in _READABLE or head.get("config_digest") != config_digest:
        raise ConfigError(
            f"the checkpoint in {directory} is of another run: its config digest is {head.get('config_digest')}, "
            f"this run's is {config_digest}. Config, seed, clips, labels, features or the number of processes differ. "
            "Choose another checkpoint folder, delete this one to train anew, or restore what was changed."
        )
    return _checkpoint(head, _read_state(directory / head["state"], head["sha256"]))


def _read_state(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing; delete its folder to train anew") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StoreError(f"{path} does not have the sha256 that {_HEAD} names; delete its folder to train anew")
    return safetensors.torch.load(data)


def _checkpoint(head: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    return Checkpoint(
        config_digest=head["config_digest"],
        epoch=head["epoch"],
        best_epoch=head["best_epoch"],
        finished=head["finished"],
        history=_history(head["history"]),
        model=_part(tensors, "model/"),
        optimizer={name: tensor for name, tensor in tensors.items() if "/" not in name},
        best=_part(tensors, "best/"),
        determinism=head.get("determinism", Determinism.STRICT),
        cursor=_cursor(head.get("cursor", {})),
        mean=_part(tensors, "mean/"),
        mean_updates=head.get("mean_updates", 0),
        random=_part(tensors, "random/"),
    )


def _cursor(table: Mapping[str, Any]) -> Cursor:
    return Cursor(**{**table, "skipped_clips": tuple(table.get("skipped_clips", ()))})


def _history(rows: Sequence[Mapping[str, Any]]) -> tuple[EpochRecord, ...]:
    named = [{_RENAMED.get(name, name): value for name, value in row.items()} for row in rows]
    return tuple(EpochRecord(**{**row, "skipped_clips": tuple(row.get("skipped_clips", ()))}) for row in named)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
