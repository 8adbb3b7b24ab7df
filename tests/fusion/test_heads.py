"""One logit is a classifier of two classes in every way."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mmpipe.config import EncoderConfig, HeadKind
from mmpipe.errors import ConfigError
from mmpipe.fusion.heads import make_head
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

INPUTS = tuple(InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=4) for name in ("audio@1", "image@1"))


def test_cross_entropy_of_one_logit_is_binary_cross_entropy() -> None:
    torch.manual_seed(0)
    head = make_head(HeadKind.SIGMOID, 5, 2)
    z_BD, labels_B = torch.randn(6, 5), torch.tensor([0, 1, 1, 0, 1, 0])
    scores_BK = head(z_BD)
    assert sum(parameter.numel() for parameter in head.parameters()) == 6
    expected = binary_cross_entropy_with_logits(scores_BK[:, 1], labels_B.float())
    torch.testing.assert_close(cross_entropy(scores_BK, labels_B), expected)


@pytest.mark.parametrize("fusion", ["concat", "late_weighted"])
def test_a_model_of_one_logit_gives_two_probabilities_and_keeps_its_head(fusion: str) -> None:
    spec = ModelSpec(
        fusion=fusion, inputs=INPUTS, classes=("no", "yes"), head=HeadKind.SIGMOID, encoder=EncoderConfig(width=4)
    )
    assert ModelSpec.from_json(spec.to_json()) == spec
    features = {entry.feature: (torch.randn(3, 1, 4), torch.ones(3, 1, dtype=torch.bool)) for entry in INPUTS}
    out = FusionModel(spec).eval()(features)
    assert out.logits_BK is not None and out.logits_BK.shape == (3, 2)
    assert all(logits_BK.shape == (3, 2) for logits_BK in out.per_modality.values())


def test_three_classes_have_no_one_logit_and_old_specs_name_no_head() -> None:
    with pytest.raises(ConfigError, match="two classes, the target has 3"):
        ModelSpec(fusion="concat", inputs=INPUTS, classes=("a", "b", "c"), head=HeadKind.SIGMOID)
    assert "head" not in ModelSpec(fusion="concat", inputs=INPUTS, classes=("a", "b")).to_json()
