"""`text-lstm`: a recurrent language model over token ids; what it has in mind at each token is the embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmpipe.features.trained.recurrent import Encoded, recurrent
from mmpipe.features.trained.spec import EncoderSpec


class TextLstm(nn.Module):
    """Learns to name the next token from those before it, without labels.

    Axes: B clips, T tokens, W width. It reads in one direction, so that what follows a token, padding too, never
    changes the token's embedding.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.tokens = nn.Embedding(spec.num_ids, spec.width)
        self.layer = recurrent(spec, spec.width, spec.width)
        self.head = nn.Linear(spec.width, spec.num_ids)

    def fit_input(self, x_ND: Tensor) -> None:
        """Take up nothing: ids have no scale."""

    def loss(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return the mean cross entropy of the next token."""
        ids_BT = x_BTD[..., 0].long()
        hidden_BTW, _ = self.layer(self.tokens(ids_BT[:, :-1]))
        logits_BTI = self.head(hidden_BTW)
        real_BT = mask_BT[:, 1:]
        return nn.functional.cross_entropy(logits_BTI[real_BT], ids_BT[:, 1:][real_BT])

    def encode(self, x_TD: Tensor) -> Encoded:
        """Return what is in mind after each token."""
        ids_T = x_TD[:, 0].long()
        hidden_1TW, _ = self.layer(self.tokens(ids_T)[None])
        return Encoded(z_SW=hidden_1TW[0], rows_S=torch.arange(len(ids_T)))
