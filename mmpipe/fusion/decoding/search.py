"""The likeliest text of a decoder: token by token, or with several followed at once.

Axes: B clips, W texts per clip, T tokens, K words. The same memory gives the same text: of equals, the lower number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmpipe.fusion.decoding.decoder import Decoder
from mmpipe.fusion.decoding.memory import Memory
from mmpipe.fusion.decoding.vocabulary import PADDING

END_ID = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Row b is the text of clip b: numbers with the end, -1 behind; one that was cut off has no end."""

    ids_BT: Tensor
    scores_B: Tensor  # log probability / tokens ** length_power

    @classmethod
    def better(cls, first: Written, second: Written) -> Written:
        """Return the better text of every clip; of equals the first."""
        wins_B = second.scores_B > first.scores_B
        return cls(
            ids_BT=torch.where(wins_B[:, None], second.ids_BT, first.ids_BT),
            scores_B=torch.where(wins_B, second.scores_B, first.scores_B),
        )


def search(decoder: Decoder, memory: Memory, max_tokens: int, *, beam: int, length_power: float) -> Written:
    """Return the best text found: never one that scores less than what `write_greedily` gives."""
    with torch.no_grad():
        greedy = write_greedily(decoder, memory, max_tokens, length_power)
        if beam == 1:
            return greedy
        return Written.better(greedy, write_with_beam(decoder, memory, max_tokens, beam, length_power))


def write_greedily(decoder: Decoder, memory: Memory, max_tokens: int, length_power: float) -> Written:
    """Write the likeliest token at every place until each text has ended or has `max_tokens`."""
    batch, device = memory.mask_BL.shape[0], memory.mask_BL.device
    ids_BT = torch.full((batch, max_tokens), PADDING, dtype=torch.int64, device=device)
    total_B = torch.zeros(batch, device=device)
    open_B = torch.ones(batch, dtype=torch.bool, device=device)
    logits_B1K, writing = decoder.write(decoder.begin(memory), _nothing(batch, device), begins=True)
    for place in range(max_tokens):
        best_B, token_B = logits_B1K[:, -1].log_softmax(1).max(1)
        ids_BT[:, place] = torch.where(open_B, token_B, PADDING)
        total_B = total_B + torch.where(open_B, best_B, 0.0)
        open_B = open_B & (token_B != END_ID)
        if place + 1 == max_tokens or not open_B.any():
            break
        logits_B1K, writing = decoder.write(writing, token_B[:, None])
    return Written(ids_BT=ids_BT, scores_B=total_B / _lengths(ids_BT) ** length_power)


def write_with_beam(decoder: Decoder, memory: Memory, max_tokens: int, beam: int, length_power: float) -> Written:
    """Follow the `beam` best texts of every clip by log probability / tokens ** length_power.

    Texts that have ended stay among them and compete on. As in Wu et al. 2016, with a plain power of the length.
    """
    batch, device = memory.mask_BL.shape[0], memory.mask_BL.device
    first_B1 = torch.arange(0, batch * beam, beam, device=device)[:, None]
    logits_B1K, writing = decoder.write(decoder.begin(memory), _nothing(batch, device), begins=True)
    every_X = torch.arange(batch, device=device).repeat_interleave(beam)
    logits_XK, writing = logits_B1K[every_X, -1], writing.take(every_X)
    texts = _Texts.begin(batch, beam, max_tokens, device)
    for place in range(max_tokens):
        texts, from_BW, token_BW = texts.followed(logits_XK.unflatten(0, (batch, beam)), place, length_power)
        if place + 1 == max_tokens or not texts.open_BW.any():
            break
        logits_X1K, writing = decoder.write(writing.take((first_B1 + from_BW).flatten()), token_BW.flatten()[:, None])
        logits_XK = logits_X1K[:, -1]
    return Written(ids_BT=texts.ids_BWT[:, 0], scores_B=texts.scores_BW[:, 0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """The texts of every clip that are followed, the best first."""

    ids_BWT: Tensor
    total_BW: Tensor  # log probability
    scores_BW: Tensor
    open_BW: Tensor

    @classmethod
    def begin(cls, batch: int, beam: int, max_tokens: int, device: torch.device) -> _Texts:
        """Return empty texts: all are the same as yet, so only one of a clip goes on."""
        total_BW = torch.full((batch, beam), -torch.inf, device=device)
        total_BW[:, 0] = 0.0
        return cls(
            ids_BWT=torch.full((batch, beam, max_tokens), PADDING, dtype=torch.int64, device=device),
            total_BW=total_BW,
            scores_BW=total_BW,
            open_BW=torch.ones(batch, beam, dtype=torch.bool, device=device),
        )

    def followed(self, logits_BWK: Tensor, place: int, length_power: float) -> tuple[_Texts, Tensor, Tensor]:
        """Return the best texts that are one token longer, or ended; which each was, and its new token."""
        beam, num_words = logits_BWK.shape[1:]
        as_it_is_K = torch.full((num_words,), -torch.inf, device=logits_BWK.device)
        as_it_is_K[END_ID] = 0.0  # an ended text goes on in one way
        more_BWK = torch.where(self.open_BW[:, :, None], logits_BWK.log_softmax(2), as_it_is_K)
        total_BWK = self.total_BW[:, :, None] + more_BWK
        lengths_BW1 = (_lengths(self.ids_BWT) + self.open_BW)[:, :, None]
        scores_BC = (total_BWK / lengths_BW1**length_power).flatten(1)
        chosen_BW = scores_BC.sort(dim=1, descending=True, stable=True).indices[:, :beam]
        from_BW, token_BW = chosen_BW // num_words, chosen_BW % num_words
        ids_BWT = self.ids_BWT.gather(1, from_BW[:, :, None].expand_as(self.ids_BWT)).clone()
        was_open_BW = self.open_BW.gather(1, from_BW)
        ids_BWT[:, :, place] = torch.where(was_open_BW, token_BW, PADDING)
        texts = _Texts(
            ids_BWT=ids_BWT,
            total_BW=total_BWK.flatten(1).gather(1, chosen_BW),
            scores_BW=scores_BC.gather(1, chosen_BW),
            open_BW=was_open_BW & (token_BW != END_ID),
        )
        return texts, from_BW, token_BW


def _nothing(batch: int, device: torch.device) -> Tensor:
    return torch.empty(batch, 0, dtype=torch.int64, device=device)


def _lengths(ids_T: Tensor) -> Tensor:
    return (ids_T != PADDING).sum(-1)
