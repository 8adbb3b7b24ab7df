"""Where a killed training run goes on: tensors in safetensors, scalars in JSON, nothing ever unpickled.

    state-000010.safetensors   network, optimiser, best network so far
    checkpoint.json            epoch, history, config digest, and the name and sha256 of the state that they belong to

`checkpoint.json` is replaced last, in one step: it always names a complete state, whenever the run is killed.
There is no random state to keep: every epoch seeds itself from (seed, epoch).
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
from mmpipe.errors import ConfigError, StoreError

_HEAD = "checkpoint.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What one epoch showed; validation figures are None without validation clips."""

    epoch: int  # from 1
    train_loss: float  # mean over the epoch, with dropout, smoothing and the unimodal losses
    gradient_norm: float  # mean over the steps, before clipping
    val_loss: float | None = None  # plain cross-entropy
    val_accuracy: float | None = None
    unimodal_val_accuracy: Mapping[str, float] = field(default_factory=dict)
    encoder_gradient_norms: Mapping[str, float] = field(default_factory=dict)  # of the last step, after clipping


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A run between two epochs."""

    config_digest: str
    epoch: int
    best_epoch: int
    finished: bool
    history: tuple[EpochRecord, ...]
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    best: Mapping[str, Tensor]


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Make a checkpoint durable in place of the last one."""
    data = safetensors.torch.save(
        {
            **{f"model/{name}": tensor.contiguous() for name, tensor in checkpoint.model.items()},
            **{f"best/{name}": tensor.contiguous() for name, tensor in checkpoint.best.items()},
            **dict(checkpoint.optimizer),
        }
    )
    state = io.make_directory(directory) / f"state-{checkpoint.epoch:06d}.safetensors"
    io.replace_bytes(state, data)
    head = {
        "format": _FORMAT,
        "config_digest": checkpoint.config_digest,
        "epoch": checkpoint.epoch,
        "best_epoch": checkpoint.best_epoch,
        "finished": checkpoint.finished,
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
    if head.get("format") != _FORMAT or head.get("config_digest") != config_digest:
        raise ConfigError(
            f"the checkpoint in {directory} is of another run: its config digest is {head.get('config_digest')}, "
            f"this run's is {config_digest}. Config, seed, clips, labels or features differ. "
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
    )


def _history(rows: Sequence[Mapping[str, Any]]) -> tuple[EpochRecord, ...]:
    return tuple(EpochRecord(**row) for row in rows)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
