"""Self-attention over the ordered tokens of all modalities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmpipe.fusion.attention import AttentionOptions, Block, all_tokens, learned, num_tokens, shares_of_tokens
from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec


@register_fusion("transformer")
class Transformer(Fusion):
    """z = norm(block([CLS; h_1 + type_1 + position; ..; h_M + type_M + position]))[CLS].

    Multi-head self-attention (Vaswani et al. 2017) over the tokens of all modalities, with a learned CLS token and
    modality-type embeddings as in VATT (Akbari et al. 2021) and ViLT (Kim et al. 2021). The tokens of a missing
    modality are masked as keys; CLS never is, so no row is without a key.

    Use it where order within a modality matters and there are thousands of clips; on few it loses to simple sums.
    """

    reads_tokens = True
    Options = AttentionOptions

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        options: AttentionOptions = self.read_options(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        self.cls_D = learned(self.z_dim)
        self.type_MD = learned(len(spec.inputs), self.z_dim)
        self.position_SD = learned(max(num_tokens(spec).values()), self.z_dim)
        self.blocks = nn.ModuleList(Block(self.z_dim, spec.dropout, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(self.z_dim)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Let CLS gather from the tokens of what is present; the weights are its attention in the last block."""
        x_BLD, mask_BL = self._tokens(embedded)
        attention_BL = mask_BL.float()
        for block in self.blocks:
            x_BLD, attention_BL = block(x_BLD, mask_BL)
        shares_BM = shares_of_tokens(embedded, attention_BL[:, 1:])
        return FusionOutput(z_BD=self.norm(x_BLD[:, 0]), weights=weights_by_feature(self.spec, shares_BM))

    def _tokens(self, embedded: Embedded) -> tuple[Tensor, Tensor]:
        """Return the tokens [B, 1 + sum S, D], CLS first, and which of them are real."""
        x_BLD, mask_BL = all_tokens(embedded, self.type_MD, self.position_SD)
        cls_B1D = self.cls_D.expand(x_BLD.shape[0], 1, -1)
        return torch.cat([cls_B1D, x_BLD], 1), torch.cat([torch.ones_like(mask_BL[:, :1]), mask_BL], 1)
