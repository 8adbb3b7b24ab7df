"""Every fusion as a graph of any number of clips."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmpipe.config import EncoderConfig
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.registry import fusion_names, make_fusion
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

NAMES = ("audio@1", "image@1")
WIDTH, STEPS = 4, 3
FUSED = [name for name in fusion_names() if name != "unimodal" and not name.startswith("test_")]
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in FUSED),
    ("early_weighted", {"weights": {"audio": 2, "image": 1}}),
    ("early_concat", {"cell": "lstm"}),
    ("early_concat", {"cell": "transformer"}),
    ("tfn", {"width": 2}),
]


class Wired(nn.Module):
    """A fusion from plain tensors to plain tensors, as a graph needs it."""

    def __init__(self, fusion: nn.Module) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, tokens: list[Tensor], masks: list[Tensor], logits: list[Tensor]) -> tuple[Tensor, ...]:
        out = self.fusion(
            Embedded(
                tokens=dict(zip(NAMES, tokens, strict=True)),
                masks=dict(zip(NAMES, masks, strict=True)),
                present={name: mask_BS.any(1) for name, mask_BS in zip(NAMES, masks, strict=True)},
                logits=dict(zip(NAMES, logits, strict=True)),
            )
        )
        return (out.z_BD, *(out.logits_BK,) * (out.logits_BK is not None), *out.weights.values(), *out.alone.values())


def inputs_of(batch: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return tokens, masks and class scores of clips that lack this and that, or everything, and end early."""
    draw = torch.Generator().manual_seed(batch)
    ways = list(itertools.product([True, False], repeat=2))
    masks = []
    for number in range(2):
        steps = 1 if NAMES[number] == "image@1" else STEPS
        lengths_B = torch.randint(1, steps + 1, (batch,), generator=draw)
        present_B = torch.tensor([ways[b % len(ways)][number] for b in range(batch)])
        masks.append((torch.arange(steps) < lengths_B[:, None]) & present_B[:, None])
    tokens = [torch.randn(*mask_BS.shape, WIDTH, generator=draw) * mask_BS[:, :, None] for mask_BS in masks]
    return tokens, masks, [torch.randn(batch, 2, generator=draw) for _ in NAMES]


# While a graph is made, torch puts its own tensors into a recurrent cell, and then the cell's back; it warns of both.
@pytest.mark.filterwarnings("ignore:The tensor attributes? .*_flat_weights:UserWarning")
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_graph_takes_any_number_of_clips_and_says_what_the_fusion_says(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(1)
    kinds = (FeatureKind.SEQUENCE, FeatureKind.VECTOR)
    entries = tuple(InputSpec(feature=f, kind=kind, dim=5) for f, kind in zip(NAMES, kinds, strict=True))
    encoder = EncoderConfig(width=WIDTH, segments=STEPS)
    spec = ModelSpec(fusion=name, inputs=entries, classes=("a", "b"), encoder=encoder, options=options)
    eager = Wired(make_fusion(spec)).eval()
    clips = {0: torch.export.Dim("clips", min=1)}
    graph = torch.export.export(eager, inputs_of(5), dynamic_shapes=([clips] * 2,) * 3).module()
    for batch in (1, 17):
        inputs = inputs_of(batch)
        for from_graph, from_eager in zip(graph(*inputs), eager(*inputs), strict=True):
            assert len(from_graph) == batch and torch.isfinite(from_eager).all()
            torch.testing.assert_close(from_graph, from_eager, rtol=0, atol=1e-6)
