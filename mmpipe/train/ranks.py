"""The processes that train one network together, as torchrun starts them; alone is the usual case.

All of them see every batch in the same order and take their share of its clips; gradients are summed, so that their
step is that of one process with the whole batch. Rank 0 alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmpipe.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among those that train together; torch's default group joins them where there are several."""

    rank: int = 0
    size: int = 1
    local: int = 0  # among those of this machine: the number of its GPU

    @property
    def writes(self) -> bool:
        """Say whether this is the process that writes."""
        return self.rank == 0

    def share(self, positions: np.ndarray) -> np.ndarray:
        """Return this process's part of a batch; all parts joined are the batch."""
        return positions if self.size == 1 else np.array_split(positions, self.size)[self.rank]

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, in place."""
        if self.size > 1:
            from torch import distributed

            distributed.all_reduce(tensor)
        return tensor

    def told(self, yes: bool) -> bool:
        """Return what rank 0 says; nobody goes on before it has spoken."""
        import torch

        if self.size == 1:
            return yes
        from torch import distributed

        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        said = torch.tensor([yes], dtype=torch.int64, device=device)
        distributed.broadcast(said, 0)
        return bool(said.item())

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Sum the gradients of all processes in place; one that no process has stays None."""
        if self.size == 1:
            return
        import torch

        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
            + [torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)]
        )
        self.sum(flat)
        sizes = [p.numel() for p in parameters]
        for parameter, part, has in zip(
            parameters, flat[: sum(sizes)].split(sizes), flat[sum(sizes) :].tolist(), strict=True
        ):
            parameter.grad = part.view_as(parameter).clone() if has else None


ALONE = Ranks()


def speaks() -> bool:
    """Say whether this process is the one that talks to people: rank 0 of those that torchrun started."""
    return not _is_joined() or os.environ["RANK"] == "0"


def _is_joined() -> bool:
    """Say whether torchrun started this process beside others; WORLD_SIZE alone may be a batch system's."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE") != "1"


@contextmanager
def join_ranks(backend: str = "gloo") -> Iterator[Ranks]:
    """Join the processes that torchrun started with this one; alone where it was started without torchrun."""
    if not _is_joined():
        yield ALONE
        return
    from torch import distributed

    if not distributed.is_available():
        raise ConfigError(
            "this build of torch has no torch.distributed: train without torchrun, or install one that has"
        )
    local = int(os.environ["LOCAL_RANK"])
    if backend == "nccl":
        _take_device(local)
    distributed.init_process_group(backend)
    try:
        yield Ranks(rank=distributed.get_rank(), size=distributed.get_world_size(), local=local)
    finally:
        distributed.destroy_process_group()


def _take_device(local: int) -> None:
    """Give this process its own GPU before the first thing that the processes say to each other goes through it."""
    import torch

    if local >= torch.cuda.device_count():
        raise ConfigError(
            f"torchrun started more processes than torch sees CUDA devices here ({torch.cuda.device_count()}). "
            'Start as many as there are, or set train.device = "cpu"'
        )
    torch.cuda.set_device(local)
