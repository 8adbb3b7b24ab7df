"""Attention between tokens, written out, because its weights are reported.

Axes: B clips, H heads, Q queries, L keys, S tokens of one modality, D width, d = D / H.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from mmpipe.config import Table
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.spec import ModelSpec
from mmpipe.types import FeatureKind

INITIAL_DEVIATION = 0.02  # of learned tokens, types and positions, as in ViT


class AttentionOptions(Table):
    """The size of what attends."""

    layers: int = Field(1, ge=1, le=16, description="blocks in a row")
    heads: int = Field(4, ge=1, le=64, description="attention heads; halved until they divide the encoder's width")


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the last axis of what the mask lets through, exactly 0 elsewhere and where it is none."""
    return torch.where(mask, scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1), 0.0)


def attend(
    q_BHQd: Tensor, k_BHLd: Tensor, v_BHLd: Tensor, mask_BL: Tensor, *, spare: bool = False
) -> tuple[Tensor, Tensor]:
    """Return softmax(Q K^T / sqrt(d)) V with the heads side by side, [B, Q, D], and the weights [B, H, Q, L].

    A query without a key takes nothing. With `spare`, a key and a value of zeros stand beside the others, so that a
    query can also leave a single key alone (`add_zero_attn` of torch); the weights then add up to less than 1.
    """
    scores_BHQL = q_BHQd @ k_BHLd.transpose(2, 3) / q_BHQd.shape[-1] ** 0.5
    mask_B11L = mask_BL[:, None, None, :]
    if spare:
        none_BHQ1 = torch.zeros_like(scores_BHQL[..., :1])
        seen_B11L = torch.cat([mask_B11L, torch.ones_like(mask_B11L[..., :1])], 3)
        weights_BHQL = masked_softmax(torch.cat([scores_BHQL, none_BHQ1], 3), seen_B11L)[..., :-1]
    else:
        weights_BHQL = masked_softmax(scores_BHQL, mask_B11L)
    return (weights_BHQL @ v_BHLd).transpose(1, 2).flatten(2), weights_BHQL


def fitting_heads(width: int, wanted: int) -> int:
    """Return the wanted number of heads, halved until it divides the width."""
    while width % wanted:
        wanted //= 2
    return wanted


class Block(nn.Module):
    """A pre-norm transformer block (Vaswani et al. 2017) that also says where its first token looked."""

    def __init__(self, dim: int, dropout: float, heads: int) -> None:
        super().__init__()
        self.num_heads = fitting_heads(dim, heads)
        self.norm_attention, self.norm_hidden = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.hidden = _hidden(dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new tokens, and the attention [B, L] of token 0 averaged over heads."""
        mixed_BLD, attention_BL = self.attend(self.norm_attention(x_BLD), mask_BL)
        x_BLD = x_BLD + self.dropout(mixed_BLD)
        return x_BLD + self.dropout(self.hidden(self.norm_hidden(x_BLD))), attention_BL

    def attend(self, x_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return what every token takes from all, through the output map, and where token 0 looked."""
        heads = self.query_key_value(x_BLD).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q_BHLd, k_BHLd, v_BHLd = heads.unbind(0)
        mixed_BLD, weights_BHLL = attend(q_BHLd, k_BHLd, v_BHLd, mask_BL)
        return self.out(mixed_BLD), weights_BHLL[:, :, 0].mean(1)


class CrossBlock(nn.Module):
    """The same with the queries from one place, and the keys and values from another: x + attention, then x + MLP."""

    def __init__(self, dim: int, dropout: float, heads: int, *, spare: bool) -> None:
        super().__init__()
        self.num_heads, self.spare = fitting_heads(dim, heads), spare
        self.norm_query, self.norm_source, self.norm_hidden = (nn.LayerNorm(dim) for _ in range(3))
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.hidden = _hidden(dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BQD: Tensor, source_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new x, and its attention [B, L] averaged over heads and queries."""
        mixed_BQD, attention_BL = self.attend(self.norm_query(x_BQD), self.norm_source(source_BLD), mask_BL)
        x_BQD = x_BQD + self.dropout(mixed_BQD)
        return x_BQD + self.dropout(self.hidden(self.norm_hidden(x_BQD))), attention_BL

    def attend(self, x_BQD: Tensor, source_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return what x takes from the source, through the output map, and where it looked."""
        q_BHQd = self.query(x_BQD).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        heads = self.key_value(source_BLD).unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        k_BHLd, v_BHLd = heads.unbind(0)
        mixed_BQD, weights_BHQL = attend(q_BHQd, k_BHLd, v_BHLd, mask_BL, spare=self.spare)
        return self.out(mixed_BQD), weights_BHQL.mean((1, 2))


def num_tokens(spec: ModelSpec) -> dict[str, int]:
    """Return how many tokens every input has, for a fusion that reads tokens."""
    return {
        entry.feature: spec.encoder_of(entry.feature).num_steps if entry.kind is FeatureKind.SEQUENCE else 1
        for entry in spec.inputs
    }


def learned(*shape: int) -> nn.Parameter:
    """Return small random numbers that are learned: tokens, types, positions."""
    return nn.Parameter(torch.randn(*shape) * INITIAL_DEVIATION)


def all_tokens(embedded: Embedded, type_MD: Tensor, position_SD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens of all modalities in a row, [B, sum S, D], each with its type and position, and their mask."""
    parts = [
        tokens_BSD + type_D + position_SD[: tokens_BSD.shape[1]]
        for type_D, tokens_BSD in zip(type_MD, embedded.tokens.values(), strict=True)
    ]
    return torch.cat(parts, 1), torch.cat([embedded.mask_BS(name) for name in embedded.tokens], 1)


def shares_of_tokens(embedded: Embedded, attention_BL: Tensor) -> Tensor:
    """Return the attention [B, sum S] that the tokens of each modality got, [B, M]."""
    lengths = [tokens_BSD.shape[1] for tokens_BSD in embedded.tokens.values()]
    return torch.stack([part_BS.sum(1) for part_BS in attention_BL.split(lengths, 1)], 1)


def _hidden(dim: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))
