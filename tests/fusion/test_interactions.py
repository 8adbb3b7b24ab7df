"""What a product of modalities can say and a sum cannot: neither modality alone tells the class, both together do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmpipe.config import EncoderConfig
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

NAMES = ("left@1", "right@1")
INPUTS = tuple(InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=4) for name in NAMES)
ENCODER = EncoderConfig(width=8, segments=1, components=0)


def clips(num_clips: int, seed: int) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
    """Return features, and whether the first numbers of both have one sign."""
    draw = torch.Generator().manual_seed(seed)
    x = {name: torch.randn(num_clips, 1, 4, generator=draw) for name in NAMES}
    labels_B = (x[NAMES[0]][:, 0, 0] * x[NAMES[1]][:, 0, 0] > 0).long()
    return {name: (x_B1D, torch.ones(num_clips, 1, dtype=torch.bool)) for name, x_B1D in x.items()}, labels_B


def accuracy(fusion: str) -> float:
    """Return the share of new clips that a fusion over linear encoders gets right."""
    torch.manual_seed(0)
    model = FusionModel(ModelSpec(fusion=fusion, inputs=INPUTS, classes=("no", "yes"), encoder=ENCODER)).train()
    features, labels_B = clips(600, seed=1)
    prepared = model.prepare(features)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(150):
        logits_BK = model.forward_prepared(prepared).logits_BK
        assert logits_BK is not None
        loss = cross_entropy(logits_BK, labels_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    new_features, new_labels_B = clips(600, seed=2)
    with torch.no_grad():
        hits_B = model.eval()(new_features).logits_BK.argmax(1) == new_labels_B
    return float(hits_B.float().mean())


@pytest.mark.parametrize("fusion", ["concat", "deep", "early_concat", "gmu", "hadamard", "hybrid", "lmf", "tfn"])
def test_fusions_in_which_modalities_meet_learn_it(fusion: str) -> None:
    assert accuracy(fusion) > 0.85


@pytest.mark.parametrize("fusion", ["early_weighted", "pool_mean", "late_logits", "late_product", "late_weighted"])
def test_sums_of_linear_encoders_cannot(fusion: str) -> None:
    assert accuracy(fusion) < 0.62
