"""`lse_pool` keeps the contract of a fusion, and lies between mean and maximum."""

from __future__ import annotations

import pytest
import torch
from mmpipe_lse_pool import LsePool

from mmpipe import Embedded, FeatureKind, ModelSpec
from mmpipe.config import EncoderConfig
from mmpipe.fusion.spec import InputSpec
from mmpipe.testing import check_fusion

FEATURES = ("a", "b", "c")


def pool(sharpness: float, x_BMD: torch.Tensor) -> torch.Tensor:
    """Return what is pooled of embeddings that are all present."""
    inputs = tuple(InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=4) for name in FEATURES)
    spec = ModelSpec(
        fusion="lse_pool",
        inputs=inputs,
        classes=("no", "yes"),
        encoder=EncoderConfig(width=x_BMD.shape[2]),
        options={"sharpness": sharpness},
    )
    present = {name: torch.ones(len(x_BMD), dtype=torch.bool) for name in FEATURES}
    tokens = {name: x_BMD[:, [place]] for place, name in enumerate(FEATURES)}
    return LsePool(spec)(Embedded(tokens=tokens, present=present, logits={})).z_BD.detach()


def test_it_keeps_the_contract_of_a_fusion() -> None:
    """Finite, blind to what is missing, clip by clip."""
    check_fusion(LsePool)
    check_fusion(LsePool, {"sharpness": 20.0})


@pytest.mark.parametrize(("sharpness", "kind"), [(1e-3, "mean"), (100.0, "max")])
def test_it_goes_from_the_mean_to_the_maximum(sharpness: float, kind: str) -> None:
    """Its two ends are closed forms."""
    x_BMD = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(7))
    expected_BD = x_BMD.mean(1) if kind == "mean" else x_BMD.amax(1)
    assert torch.allclose(pool(sharpness, x_BMD), expected_BD, atol=2e-2)
