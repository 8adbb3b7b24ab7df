"""What an imputer is given and what it gives: vectors of a batch's modalities, side by side.

Axes: B clips, M modalities in the order of the spec, F the numbers of all modalities, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations

import torch
from torch import Tensor, nn

from mmpipe.errors import ConfigError
from mmpipe.fusion.imputers.spec import ImputerSpec
from mmpipe.fusion.preprocess import Prepared

MOST_MODALITIES = 4  # an imputer knows every set of modalities that may be there: 14 of four, 30 of five


class Imputer(nn.Module):
    """Fills in the modalities that a clip lacks, from those that it has; a clip that has none stays as it is.

    All its numbers are buffers: no training of the network around it changes them.
    """

    spec: ImputerSpec

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        if not 2 <= len(widths) <= MOST_MODALITIES:
            raise ConfigError(
                f"a missing modality is imputed from the others of 2 to {MOST_MODALITIES} inputs, got {len(widths)}. "
                "Set train.impute = 'off'"
            )
        self.widths = tuple(widths)  # numbers of each modality

    def estimate(self, x_BF: Tensor, present_BM: Tensor) -> Tensor:
        """Return a guess of every number, [B, F]; `x_BF` is zero where a modality is missing."""
        raise NotImplementedError

    def forward(self, prepared: Mapping[str, Prepared]) -> dict[str, Prepared]:
        """Return the clips with what was missing filled in, as if it were present."""
        x_BF, present_BM = side_by_side(prepared)
        guess_BF = self.estimate(x_BF, present_BM)
        some_B = present_BM.any(1)
        parts = guess_BF.split(self.widths, 1)
        return {
            name: _filled(part, guess_BW.view_as(part.x_BSK), some_B & ~part.present_B)
            for (name, part), guess_BW in zip(prepared.items(), parts, strict=True)
        }


def side_by_side(prepared: Mapping[str, Prepared]) -> tuple[Tensor, Tensor]:
    """Return all numbers of a batch [B, F], zero where a modality is missing, and which are there, [B, M]."""
    present_BM = torch.stack([part.present_B for part in prepared.values()], 1)
    parts = [torch.where(part.present_B[:, None], part.x_BSK.flatten(1), 0.0) for part in prepared.values()]
    return torch.cat(parts, 1), present_BM


def spread(present_BM: Tensor, widths: Sequence[int]) -> Tensor:
    """Return for every number whether its modality is there, [B, F]."""
    columns = [here_B[:, None].expand(-1, width) for here_B, width in zip(present_BM.unbind(1), widths, strict=True)]
    return torch.cat(columns, 1)


def known_sets(num_modalities: int) -> list[tuple[bool, ...]]:
    """Return every set of modalities that something can be imputed from: neither none nor all."""
    everything = range(num_modalities)
    sets = chain.from_iterable(combinations(everything, size) for size in range(1, num_modalities))
    return [tuple(m in chosen for m in everything) for chosen in sets]


def rows_of_set(present_BM: Tensor, known: Sequence[bool]) -> Tensor:
    """Return which clips have exactly this set of modalities, [B]."""
    return (present_BM == torch.tensor(known, device=present_BM.device)).all(1)


def hold_still(module: nn.Module) -> None:
    """Turn the parameters of a module into buffers of the same names."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach().clone())


def _filled(part: Prepared, guess_BSK: Tensor, missing_B: Tensor) -> Prepared:
    x_BSK = torch.where(missing_B[:, None, None], guess_BSK.to(part.x_BSK.dtype), part.x_BSK)
    mask_BS = None if part.mask_BS is None else part.mask_BS | missing_B[:, None]
    return replace(part, x_BSK=x_BSK, present_B=part.present_B | missing_B, mask_BS=mask_BS)
