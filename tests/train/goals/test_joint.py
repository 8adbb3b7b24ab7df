from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmpipe.config import EncoderConfig, Goal, TrainConfig, Weighting
from mmpipe.fusion.goals.joint import UncertaintyWeights
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import AlsoSpec, InputSpec, ModelSpec
from mmpipe.train.goals.joint import fit_goals, packed_columns
from mmpipe.train.goals.registry import check_targets, make_objective
from mmpipe.types import FeatureKind

A, B = (InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=5) for name in ("a@1", "b@1"))
LABELS_B = np.array([0, 2, 1, 1])
PITCH_B1 = np.array([[1.0], [3.0], [np.nan], [5.0]])  # the third clip has none
KINDS_BK = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])


def spec(weighting: Weighting = Weighting.FIXED) -> ModelSpec:
    return ModelSpec(
        fusion="concat",
        inputs=(A, B),
        classes=("x", "y", "z"),
        encoder=EncoderConfig(width=6, components=0),
        also={
            "pitch": AlsoSpec(goal=Goal.REGRESS, classes=("pitch",), weight=0.5),
            "kinds": AlsoSpec(goal=Goal.MULTILABEL, classes=("low", "warm"), weight=2.0),
        },
        weighting=weighting,
    )


def packed() -> np.ndarray:
    return np.concatenate([LABELS_B[:, None], PITCH_B1, KINDS_BK], axis=1).astype(np.float32)


def run(weighting: Weighting) -> tuple[FusionModel, torch.Tensor, dict[str, torch.Tensor]]:
    """Return a network, its joint losses, and the losses of each answer by hand."""
    torch.manual_seed(0)
    model = FusionModel(spec(weighting)).eval()
    fit_goals(model, packed())
    features = {e.feature: (torch.randn(4, 1, 5), torch.ones(4, 1, dtype=torch.bool)) for e in (A, B)}
    out = model(features)
    objective = make_objective(model.spec, TrainConfig(), packed(), torch.device("cpu"))
    losses_B = objective.clip_losses(model, out, torch.from_numpy(packed()))
    known = PITCH_B1[~np.isnan(PITCH_B1)]
    pitch_B = (torch.from_numpy((PITCH_B1[:, 0] - known.mean()) / known.std()).float() - out.also["pitch"][:, 0]) ** 2
    pitch_B[2] = 0.0
    wanted = {
        "own": torch.nn.functional.cross_entropy(out.logits_BK, torch.from_numpy(LABELS_B), reduction="none"),
        "pitch": pitch_B,
        "kinds": torch.nn.functional.binary_cross_entropy_with_logits(
            out.also["kinds"], torch.from_numpy(KINDS_BK).float(), reduction="none"
        ).mean(1),
    }
    return model, losses_B, wanted


def test_fixed_weights_add_up_and_a_clip_without_a_target_does_not_count():
    _, losses_B, wanted = run(Weighting.FIXED)
    torch.testing.assert_close(losses_B, wanted["own"] + 0.5 * wanted["pitch"] + 2.0 * wanted["kinds"])


def test_learnt_uncertainty_is_that_of_the_paper():
    model, losses_B, wanted = run(Weighting.UNCERTAINTY)
    torch.testing.assert_close(losses_B, wanted["own"] + 0.5 * wanted["pitch"] + wanted["kinds"])  # s = 0
    weights = model.joint.weights
    assert isinstance(weights, UncertaintyWeights)
    with torch.no_grad():
        weights.log_variance_T.copy_(torch.tensor([0.4, -0.6, 0.0]))
    losses_TB = torch.tensor([[2.0], [3.0], [0.0]])
    assert weights(losses_TB).item() == pytest.approx(math.exp(-0.4) * 2 + 0.2 + math.exp(0.6) * 3 / 2 - 0.3)
    losses_B.sum().backward()
    assert all(parameter.grad is not None for parameter in model.joint.parameters())


def test_targets_are_packed_side_by_side_and_the_spec_survives_json():
    columns = packed_columns(spec())
    assert [(name, c.start, c.stop) for name, c in columns.items()] == [("", 0, 1), ("pitch", 1, 2), ("kinds", 2, 4)]
    assert packed().shape == (4, 4) and np.isnan(packed()[2, 1])
    check_targets(spec(), packed())
    assert ModelSpec.from_json(spec(Weighting.UNCERTAINTY).to_json()) == spec(Weighting.UNCERTAINTY)
    assert "also" not in ModelSpec(fusion="concat", inputs=(A, B), classes=("x", "y")).to_json()
