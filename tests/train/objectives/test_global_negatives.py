"""InfoNCE over processes is InfoNCE over their clips in one: the same loss, the same gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from mmpipe.train.objectives.contrastive import info_nce

BATCH, DIM = 6, 5
SHARES = ((0, 3, 6), (0, 4, 6), (0, 6, 6))  # where the shares of two processes begin and end: even, uneven, one idle


class Towers(torch.nn.Module):
    """Two linear encoders and a scale."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(4, DIM).double(), torch.nn.Linear(3, DIM).double()
        self.scale = torch.nn.Parameter(torch.tensor(5.0, dtype=torch.float64))

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, groups_B: torch.Tensor, present_B: torch.Tensor
    ) -> torch.Tensor:
        return info_nce(self.first(x), self.second(y), self.scale, groups_B=groups_B, present_B=present_B)


def data() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(BATCH, width, generator=generator, dtype=torch.float64) for width in (4, 3))
    return x, y, torch.tensor([0, 1, 1, 2, 3, 0]), torch.tensor([True, True, True, False, True, True])


def one_process(rank: int, store: str, out: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    for case, cuts in enumerate(SHARES):
        model = Towers()
        losses_B = model(*(part[cuts[rank] : cuts[rank + 1]] for part in data()))
        losses_B.sum().backward()
        found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        for gradient in found.values():
            torch.distributed.all_reduce(gradient)
        torch.save({"losses": losses_B.detach(), **found}, Path(out) / f"{case}-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_two_processes_are_one_large_batch(tmp_path: Path) -> None:
    model = Towers()
    losses_B = model(*data())
    losses_B.sum().backward()
    start_processes(one_process, (str(tmp_path / "store"), str(tmp_path)), nprocs=2, start_method="spawn")
    for case in range(len(SHARES)):
        ranks = [torch.load(tmp_path / f"{case}-{rank}.pt", weights_only=True) for rank in range(2)]
        torch.testing.assert_close(torch.cat([found.pop("losses") for found in ranks]), losses_B.detach())
        for found in ranks:
            for name, parameter in model.named_parameters():
                torch.testing.assert_close(found[name], parameter.grad, msg=name)
