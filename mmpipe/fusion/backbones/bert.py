"""BERT to train on stored token ids (Devlin et al. 2018): transformers' own, as large as its config says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmpipe.errors import ConfigError
from mmpipe.fusion.backbones.base import Backbone
from mmpipe.weights.loading import quiet_transformers


class Bert(Backbone):
    """Token ids [B, S, 1] -> the last layer's hidden states [B, S, dim], with attention to real tokens alone.

    `architecture` is the `config.json` of a BERT as transformers writes it; what it does not name has its default.
    """

    def __init__(self, architecture: Mapping[str, Any], dropout: float) -> None:
        super().__init__()
        with quiet_transformers():
            from transformers import BertConfig, BertModel

            drop = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
            self.network = BertModel(BertConfig(**{**architecture, **drop}), add_pooling_layer=False)
        self.dim = int(self.network.config.hidden_size)
        self.num_ids = int(self.network.config.vocab_size)

    def forward(self, x_BSK: Tensor, mask_BS: Tensor) -> Tensor:
        """Read the tokens; an id that BERT does not know becomes its last one, and `check_ids` tells before."""
        ids_BS = x_BSK[:, :, 0].long().clamp(0, self.num_ids - 1)
        # A row without a token attends to its own padding: finite, and left out afterwards.
        seen_BS = mask_BS | ~mask_BS.any(1, keepdim=True)
        hidden_BSD: Tensor = self.network(input_ids=ids_BS, attention_mask=seen_BS.long()).last_hidden_state
        return hidden_BSD


def check_ids(x_BSK: Tensor, mask_BS: Tensor, num_ids: int, feature: str) -> None:
    """Raise ConfigError where stored ids are not those of the network's tokenizer."""
    ids = x_BSK[:, :, 0][mask_BS]
    if len(ids) and not bool(((ids >= 0) & (ids < num_ids)).all()):
        raise ConfigError(
            f"{feature} holds ids up to {int(torch.max(ids))}, the network has embeddings for {num_ids}: "
            "extract the tokens with the tokenizer of these weights, or set a larger vocabulary"
        )
