"""Self-attention over the ordered tokens of all modalities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec
from mmpipe.types import FeatureKind

NUM_LAYERS = 1
NUM_HEADS = 4


@register_fusion("transformer")
class Transformer(Fusion):
    """z = norm(block([CLS; h_1 + type_1 + position; ..; h_M + type_M + position]))[CLS].

    A learned CLS token and modality-type embeddings as in VATT (Akbari et al. 2021) and ViLT (Kim et al. 2021).
    The tokens of a missing modality are masked as keys; CLS never is, so no row is without a key.
    """

    reads_tokens = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        longest = max(spec.encoder.segments if e.kind is FeatureKind.SEQUENCE else 1 for e in spec.inputs)
        self.cls_D = nn.Parameter(torch.randn(self.z_dim) * 0.02)
        self.type_MD = nn.Parameter(torch.randn(len(spec.inputs), self.z_dim) * 0.02)
        self.position_SD = nn.Parameter(torch.randn(longest, self.z_dim) * 0.02)
        self.blocks = nn.ModuleList(Block(self.z_dim, spec.dropout) for _ in range(NUM_LAYERS))
        self.norm = nn.LayerNorm(self.z_dim)

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Let CLS gather from the tokens of what is present; the weights are its attention in the last block."""
        x_BLD, mask_BL = self._tokens(embedded)
        attention_BL = mask_BL.float()
        for block in self.blocks:
            x_BLD, attention_BL = block(x_BLD, mask_BL)
        lengths = [tokens_BSD.shape[1] for tokens_BSD in embedded.tokens.values()]
        shares_BM = torch.stack([part_BS.sum(1) for part_BS in attention_BL[:, 1:].split(lengths, 1)], 1)
        return FusionOutput(z_BD=self.norm(x_BLD[:, 0]), weights=weights_by_feature(self.spec, shares_BM))

    def _tokens(self, embedded: Embedded) -> tuple[Tensor, Tensor]:
        """Return the tokens [B, 1 + sum S, D], CLS first, and which of them are real."""
        batch = next(iter(embedded.tokens.values())).shape[0]
        parts, masks = (
            [self.cls_D.expand(batch, 1, -1)],
            [torch.ones(batch, 1, dtype=torch.bool, device=self.cls_D.device)],
        )
        for type_D, (name, tokens_BSD) in zip(self.type_MD, embedded.tokens.items(), strict=True):
            num_tokens = tokens_BSD.shape[1]
            parts.append(tokens_BSD + type_D + self.position_SD[:num_tokens])
            masks.append(embedded.present[name][:, None].expand(batch, num_tokens))
        return torch.cat(parts, 1), torch.cat(masks, 1)


class Block(nn.Module):
    """A pre-norm transformer block that also says where its first token looked."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = next(heads for heads in (NUM_HEADS, 2, 1) if dim % heads == 0)
        self.norm_attention, self.norm_hidden = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.hidden = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new tokens, and the attention [B, L] of token 0 averaged over heads."""
        mixed_BLD, attention_BL = self.attend(self.norm_attention(x_BLD), mask_BL)
        x_BLD = x_BLD + self.dropout(mixed_BLD)
        return x_BLD + self.dropout(self.hidden(self.norm_hidden(x_BLD))), attention_BL

    def attend(self, x_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return softmax(Q K^T / sqrt(d)) V through the output map: written out, because the weights are reported."""
        heads = self.query_key_value(x_BLD).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q_BHLd, k_BHLd, v_BHLd = heads.unbind(0)
        scores_BHLL = q_BHLd @ k_BHLd.transpose(2, 3) / q_BHLd.shape[-1] ** 0.5
        weights_BHLL = scores_BHLL.masked_fill(~mask_BL[:, None, None, :], float("-inf")).softmax(3)
        mixed_BLD = (weights_BHLL @ v_BHLd).transpose(1, 2).flatten(2)
        return self.out(mixed_BLD), weights_BHLL[:, :, 0].mean(1)
