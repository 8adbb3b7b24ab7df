"""A small transformer that writes one token after the other (Vaswani et al. 2017).

Axes: B texts, T tokens written at once, P tokens that were written before, H heads, L tokens of the memory, K words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from mmpipe.fusion.attention import fitting_heads
from mmpipe.fusion.decoding.memory import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What one block keeps, so that nothing is computed twice: keys and values of the text, and of the memory."""

    text_2BHPd: Tensor
    memory_2BHLd: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Texts that are being written."""

    pasts: tuple[Past, ...]  # one per block
    mask_BL: Tensor
    num_written: int

    def take(self, rows_R: Tensor) -> Writing:
        """Return these texts, some perhaps more than once: a search follows them on."""
        pasts = tuple(
            Past(text_2BHPd=past.text_2BHPd[:, rows_R], memory_2BHLd=past.memory_2BHLd[:, rows_R])
            for past in self.pasts
        )
        return Writing(pasts=pasts, mask_BL=self.mask_BL[rows_R], num_written=self.num_written)


class Decoder(nn.Module):
    """p(token t | tokens before t, memory) = softmax(W norm(block(.. [begin; e_1; ..; e_t-1] + position))).

    Pre-norm blocks of causal self-attention, attention to the memory, and an MLP; the begin token is learned, positions
    are sines and cosines, so a text may be as long as it is.
    """

    def __init__(self, num_words: int, width: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.begin_D = nn.Parameter(torch.randn(width))
        self.words = nn.Embedding(num_words, width)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, num_words)

    def forward(self, memory: Memory, ids_BT: Tensor) -> Tensor:
        """Return the scores [B, T, K] of every token of texts that are known, from those before it.

        What stands behind an end (below 0) changes nothing before it.
        """
        logits_BTK, _ = self.write(self.begin(memory), ids_BT[:, :-1].clamp(min=0), begins=True)
        return logits_BTK

    def begin(self, memory: Memory) -> Writing:
        """Return texts without a token yet, one per clip."""
        pasts = tuple(cast(_Block, block).begin(memory.tokens_BLD) for block in self.blocks)
        return Writing(pasts=pasts, mask_BL=memory.mask_BL, num_written=0)

    def write(self, writing: Writing, ids_BT: Tensor, *, begins: bool = False) -> tuple[Tensor, Writing]:
        """Write tokens behind those that are there; return the scores [B, T, K] of what comes after each."""
        x_BTD = self.words(ids_BT)
        if begins:
            x_BTD = torch.cat([self.begin_D.expand(x_BTD.shape[0], 1, -1), x_BTD], 1)
        start, length = writing.num_written, x_BTD.shape[1]
        x_BTD = x_BTD + positions(start, length, x_BTD)
        pasts = []
        for block, past in zip(self.blocks, writing.pasts, strict=True):
            x_BTD, past = block(x_BTD, past, writing.mask_BL)
            pasts.append(past)
        after = Writing(pasts=tuple(pasts), mask_BL=writing.mask_BL, num_written=start + length)
        return self.out(self.norm(x_BTD)), after


def positions(start: int, length: int, like_BTD: Tensor) -> Tensor:
    """Return sin(p / 10000^(2 i / D)) and the cosines of the places from `start`, [T, D] (Vaswani et al. 2017)."""
    width = like_BTD.shape[2]
    places_T1 = torch.arange(start, start + length, dtype=like_BTD.dtype, device=like_BTD.device)[:, None]
    even_I = torch.arange(0, width, 2, dtype=like_BTD.dtype, device=like_BTD.device)
    angles_TI = places_T1 * torch.exp(even_I * (-math.log(10_000) / width))
    return torch.cat([angles_TI.sin(), angles_TI.cos()], 1)[:, :width]


class _Block(nn.Module):
    """x + attention to the text so far, x + attention to the memory, x + MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = fitting_heads(width, heads)
        self.norm_text, self.norm_query, self.norm_hidden = (nn.LayerNorm(width) for _ in range(3))
        self.query_key_value, self.text_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.memory_key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.memory_out = nn.Linear(width, width)
        self.hidden = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def begin(self, memory_BLD: Tensor) -> Past:
        """Return the keys and values of the memory, and of no text."""
        memory_2BHLd = self._heads(self.memory_key_value(memory_BLD), 2)
        return Past(text_2BHPd=memory_2BHLd[:, :, :, :0], memory_2BHLd=memory_2BHLd)

    def forward(self, x_BTD: Tensor, past: Past, mask_BL: Tensor) -> tuple[Tensor, Past]:
        """Return the new tokens, and the past with them in it."""
        q_BHTd, *own = self._heads(self.query_key_value(self.norm_text(x_BTD)), 3)
        text_2BHPd = torch.cat([past.text_2BHPd, torch.stack(own)], 3)
        seen_TP = _causal(x_BTD.shape[1], text_2BHPd.shape[3], x_BTD.device)
        x_BTD = x_BTD + self.dropout(self.text_out(_attend(q_BHTd, text_2BHPd, seen_TP)))
        q_BHTd = self._heads(self.query(self.norm_query(x_BTD)), 1)[0]
        x_BTD = x_BTD + self.dropout(self.memory_out(_attend(q_BHTd, past.memory_2BHLd, mask_BL[:, None, None])))
        x_BTD = x_BTD + self.dropout(self.hidden(self.norm_hidden(x_BTD)))
        return x_BTD, Past(text_2BHPd=text_2BHPd, memory_2BHLd=past.memory_2BHLd)

    def _heads(self, x_BTD: Tensor, parts: int) -> Tensor:
        return x_BTD.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)


def _attend(q_BHTd: Tensor, key_value_2BHLd: Tensor, mask: Tensor) -> Tensor:
    mixed_BHTd = scaled_dot_product_attention(q_BHTd, key_value_2BHLd[0], key_value_2BHLd[1], attn_mask=mask)
    return mixed_BHTd.transpose(1, 2).flatten(2)


def _causal(length: int, whole: int, device: torch.device) -> Tensor:
    """Return which tokens the last `length` of `whole` see: those before, and themselves."""
    return torch.ones(length, whole, dtype=torch.bool, device=device).tril(whole - length)
