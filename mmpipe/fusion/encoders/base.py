"""What an encoder is given, what it must give, and the sums that leave padding out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One modality of a batch in the shared width."""

    tokens_BSD: Tensor  # what is at steps that are not real does not count
    vector_BD: Tensor  # the modality as one vector


class Encoder(nn.Module):
    """Encode [B, S, K] with mask [B, S]: real steps come first. A row without a real step gives finite numbers."""

    reads_steps = False  # True: it looks across steps, so it is given each of them, not all in one

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Encoded:
        """Encode a batch."""
        raise NotImplementedError


def masked_mean(x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """Return the mean over the real steps, [B, D]; zeros where there is none."""
    real_BSD = torch.where(mask_BS[:, :, None], x_BSD, 0.0)
    return real_BSD.sum(1) / mask_BS.sum(1, keepdim=True).clamp(min=1)


def masked_max(x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """Return the largest of the real steps, [B, D]; zeros where there is none."""
    lowest = torch.finfo(x_BSD.dtype).min
    top_BD = torch.where(mask_BS[:, :, None], x_BSD, lowest).amax(1)
    return torch.where(mask_BS.any(1, keepdim=True), top_BD, 0.0)


def last_real(x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """Return the last real step, [B, D]; the first where none is real."""
    last_B11 = (mask_BS.sum(1) - 1).clamp(min=0)[:, None, None]
    return x_BSD.gather(1, last_B11.expand(-1, 1, x_BSD.shape[2]))[:, 0]


def reversed_real(x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """Return the real steps in reverse order; the padding stays behind them."""
    steps_S = torch.arange(x_BSD.shape[1], device=x_BSD.device)
    lengths_B1 = mask_BS.sum(1, keepdim=True)
    places_BS = torch.where(steps_S < lengths_B1, lengths_B1 - 1 - steps_S, steps_S)
    return x_BSD.gather(1, places_BS[:, :, None].expand_as(x_BSD))
