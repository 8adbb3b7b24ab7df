"""Batches as a torch IterableDataset: one order for any number of ranks and workers, and a state to go on from.

Torch is loaded when a dataset is made. A DataLoader needs `batch_size=None`, because what comes are whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mmpipe.batches.feature_reader import FeatureReader, dealt
from mmpipe.batches.forked import leave_parents_services
from mmpipe.batches.late import LateNames
from mmpipe.errors import ConfigError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBatch:
    """Aligned clips as tensors; `number` is the batch's place in its epoch, the same for any ranks and workers."""

    epoch: int
    number: int
    rows: torch.Tensor
    keys: tuple[str, ...]
    x: Mapping[str, torch.Tensor]  # feature -> [B, T, D] of the feature's dtype, zeros where there is nothing
    mask: Mapping[str, torch.Tensor]  # feature -> [B, T], True = real; an all-False row is a missing modality

    def to(self, device: str | torch.device, non_blocking: bool = False) -> TorchBatch:
        """Return the batch with its values on a device."""
        x, mask = (
            {name: part.to(device, non_blocking=non_blocking) for name, part in parts.items()}
            for parts in (self.x, self.mask)
        )
        return replace(self, x=x, mask=mask)

    def pin_memory(self) -> TorchBatch:
        """Return the batch in pinned memory, from where a GPU copies while the program goes on."""
        x, mask = ({name: part.pin_memory() for name, part in parts.items()} for parts in (self.x, self.mask))
        return replace(self, x=x, mask=mask)


class GatheredTorchBatch(LateNames, TorchBatch):
    """A batch with late keys; in every other way a `TorchBatch`."""

    __slots__ = ("_late",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchChoices:
    """How batches are made; without `rank` and `world` those of torch.distributed, if it runs."""

    batch_clips: int
    seed: int | None = None
    epoch: int = 0
    rank: int | None = None
    world: int | None = None
    bucket: int = 0
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """How far an epoch is."""

    start: int = 0  # the batch from which the rest is dealt to ranks and workers
    done: int = 0  # of what was dealt to this worker


class TorchBatches:
    """Whole batches of a reader; `torch_dataset` makes it a torch IterableDataset.

    Call `set_epoch` before every epoch, or the order is that of the last one again. Workers that a DataLoader keeps
    alive hear of it too: the place to go on from lies in memory that they share.
    """

    def __init__(self, reader: FeatureReader, choices: TorchChoices, board: torch.Tensor | None = None) -> None:
        """Start at the first batch of an epoch; `board` is that of the dataset that this is a copy of."""
        import torch

        self.reader = reader
        self.choices = choices
        self.epoch = choices.epoch
        self._at = _Position()
        self._resume = _Position()  # where the next iteration starts; an iteration begun anew starts at 0
        # Epoch, start, done, and how often they were set.
        self._board = torch.zeros(4, dtype=torch.int64).share_memory_() if board is None else board
        self._heard = int(self._board[3])

    def set_epoch(self, epoch: int) -> None:
        """Go to the first batch of an epoch; also in persistent workers, from their next iteration on."""
        self._go_to(epoch, _Position())

    def state_dict(self, after: TorchBatch | None = None) -> dict[str, int]:
        """Return where to go on.

        Without workers that is after the last batch that came. With the workers of a DataLoader, which run ahead, name
        the last batch that you used. One state serves all ranks and any number of workers, if the ranks have used
        equally many batches.
        """
        if after is not None:
            return {"epoch": after.epoch, "start": _step_after(after.number, self._place()[1]), "done": 0}
        return {"epoch": self.epoch, "start": self._at.start, "done": self._at.done}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on after the batch that a state was taken at."""
        self._go_to(state["epoch"], _Position(start=state["start"], done=state["done"]))

    def __iter__(self) -> Iterator[TorchBatch]:
        """Yield what is left of the epoch for this rank and worker."""
        self._hear()
        choices, epoch = self.choices, self.epoch
        planned = self.reader.plan_batches(choices.batch_clips, seed=choices.seed, epoch=epoch, bucket=choices.bucket)
        rank, world = self._place()
        worker, workers = _worker()
        leave_parents_services()
        if workers and choices.device:
            raise ConfigError("device= is for batches without workers: in a DataLoader use pin_memory and batch.to")
        at, self._resume = self._resume, _Position()
        mine = dealt(len(planned), rank=rank, world=world, start=at.start)[worker :: max(1, workers)]
        for done, number in enumerate(mine[at.done :], start=at.done + 1):
            # Before the batch is handed over: a state taken in the loop's body counts it.
            self._at = replace(at, done=done) if workers else _Position(start=_step_after(number, world))
            yield self._batch(epoch, number, planned[number])

    def _go_to(self, epoch: int, position: _Position) -> None:
        self.epoch, self._at, self._resume = epoch, position, position
        if _worker() == (0, 0):  # what a worker is told concerns itself alone
            self._heard = int(self._board[3]) + 1
            self._board.copy_(self._board.new_tensor([epoch, position.start, position.done, self._heard]))

    def _hear(self) -> None:
        """Take over what was set in the process that this worker serves."""
        epoch, start, done, times = self._board.tolist()
        if times != self._heard:
            self.epoch, self._heard = epoch, times
            self._at = self._resume = _Position(start=start, done=done)

    def _batch(self, epoch: int, number: int, rows: np.ndarray) -> TorchBatch:
        import torch

        found = self.reader.gather(rows)
        batch: TorchBatch = GatheredTorchBatch.make(
            rows,
            self.reader.names,
            epoch=epoch,
            number=number,
            rows=torch.from_numpy(rows.copy()),
            x={name: torch.from_numpy(part.x_BTD) for name, part in found.features.items()},
            mask={name: torch.from_numpy(part.mask_BT) for name, part in found.features.items()},
        )
        if self.choices.device is None:
            return batch
        device = torch.device(self.choices.device)
        return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch.to(device)

    def _place(self) -> tuple[int, int]:
        from torch import distributed

        runs = distributed.is_available() and distributed.is_initialized()
        rank, world = self.choices.rank, self.choices.world
        return (
            rank if rank is not None else distributed.get_rank() if runs and world is None else 0,
            world if world is not None else distributed.get_world_size() if runs and rank is None else 1,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker as reader, choices and state."""
        state = {"epoch": self.epoch, "start": self._resume.start, "done": self._resume.done}
        return _again, (self.reader, self.choices, self._board, state)


def torch_dataset(reader: FeatureReader, batch_clips: int, choices: Mapping[str, Any]) -> TorchBatches:
    """Return the batches as an IterableDataset."""
    return _dataset_class()(reader, TorchChoices(batch_clips=batch_clips, **choices))


def _again(reader: FeatureReader, choices: TorchChoices, board: torch.Tensor, state: Mapping[str, int]) -> TorchBatches:
    dataset = _dataset_class()(reader, choices, board)
    dataset.epoch = state["epoch"]
    dataset._at = dataset._resume = _Position(start=state["start"], done=state["done"])
    return dataset


@cache
def _dataset_class() -> type[TorchBatches]:
    """Return TorchBatches as a torch class: only this way does importing this file not load torch."""
    from torch.utils.data import IterableDataset

    return type("TorchDataset", (TorchBatches, IterableDataset), {"__doc__": TorchBatches.__doc__})


def _step_after(number: int, world: int) -> int:
    """Return the batch after the step in which every rank has one."""
    return (number // world + 1) * world


def _worker() -> tuple[int, int]:
    """Return this DataLoader worker's number and how many there are; (0, 0) outside of one."""
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return (0, 0) if info is None else (info.id, info.num_workers)
