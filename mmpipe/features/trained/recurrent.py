"""The recurrent layers that both encoders are made of, and what an encoder gives.

Axes: B items, S embeddings of a clip, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mmpipe.features.trained.spec import EncoderSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One clip's embeddings, and the row of the input in the middle of what each stands for."""

    z_SW: Tensor
    rows_S: Tensor  # int64


def recurrent(spec: EncoderSpec, inputs: int, width: int, *, bidirectional: bool = False) -> nn.RNNBase:
    """Return one recurrent layer, batch first."""
    kind = nn.LSTM if spec.cell == "lstm" else nn.GRU
    return kind(inputs, width, batch_first=True, bidirectional=bidirectional)


def last_state(state: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return the final hidden state of a layer, [B, W]: of an LSTM without its cell, both directions side by side."""
    hidden = state[0] if isinstance(state, tuple) else state
    return hidden.transpose(0, 1).flatten(1)
