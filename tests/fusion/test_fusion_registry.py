from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from mmpipe.errors import ConfigError
from mmpipe.fusion.base import Fusion
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import fusion_names, make_fusion, register_fusion
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

INPUTS = tuple(InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=3) for name in ("a", "b"))


def spec_of(fusion: str, inputs=INPUTS) -> ModelSpec:
    return ModelSpec(fusion=fusion, inputs=inputs, classes=("no", "yes"))


def test_the_names():
    assert {"concat", "early_weighted", "late_weighted", "transformer", "unimodal"} <= set(fusion_names())


def test_listing_names_does_not_import_torch():
    code = (
        "import sys; from mmpipe.fusion.registry import fusion_names; fusion_names(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_file_registers_its_own_name():
    for name in fusion_names():
        inputs = INPUTS[:1] if name == "unimodal" else INPUTS
        assert type(make_fusion(spec_of(name, inputs))).__module__.endswith(f".{name}") or "test" in name


def test_an_unknown_name_lists_the_valid_ones():
    with pytest.raises(ConfigError, match=r"no fusion named 'nonsense'.*concat, early_weighted"):
        make_fusion(spec_of("nonsense"))


@pytest.mark.parametrize("name", ["concat", "early_weighted", "late_weighted", "transformer"])
def test_a_fusion_needs_two_inputs(name):
    with pytest.raises(ConfigError, match="at least two inputs"):
        make_fusion(spec_of(name, INPUTS[:1]))


def test_unimodal_needs_one_input():
    with pytest.raises(ConfigError, match="exactly one input"):
        make_fusion(spec_of("unimodal"))


def test_a_new_fusion_is_a_short_class():
    @register_fusion("test_product")
    class Product(Fusion):
        def __init__(self, spec: ModelSpec) -> None:
            super().__init__()
            self.z_dim = spec.encoder.width
            self.bias = nn.Parameter(torch.ones(self.z_dim))

        def forward(self, embedded):
            return FusionOutput(z_BD=(self.bias + embedded.vectors_BMD()).prod(1))

    model = FusionModel(spec_of("test_product"))
    ones = (torch.ones(2, 1, 3), torch.ones(2, 1, dtype=torch.bool))
    assert model({"a": ones, "b": ones}).logits_BK.shape == (2, 2)
    assert "test_product" in fusion_names()


def test_a_name_is_given_once():
    make_fusion(spec_of("concat"))
    with pytest.raises(ConfigError, match="'concat' is taken by"):

        @register_fusion("concat")
        class Other(Fusion):
            pass
