from __future__ import annotations

import numpy as np
import torch

from mmpipe.config import TrainConfig
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.goals.classify import ClassifyObjective
from mmpipe.train.totals import StepTotals
from mmpipe.types import FeatureKind

LABELS_B = torch.tensor([0, 2, 1, 1])


SPEC = ModelSpec(
    fusion="unimodal",
    inputs=(InputSpec(feature="a@1", kind=FeatureKind.VECTOR, dim=2),),
    classes=("x", "y", "z"),
)
MODEL = FusionModel(SPEC)


def objective(weights_K=None, **changes) -> ClassifyObjective:
    made = ClassifyObjective(SPEC, TrainConfig(**changes), LABELS_B.numpy(), torch.device("cpu"))
    made.class_weights_K = weights_K
    return made


def training_loss(out, target, prepared, weights_K=None, **changes):
    made = objective(weights_K, **changes)
    totals = StepTotals.of(len(target), prepared, made.weights_B(target))
    return made.training_loss(MODEL, out, target, prepared, totals)


def fused_loss(out, target) -> torch.Tensor:
    return objective().plain_losses(MODEL, out, target)


def logits(seed: int) -> torch.Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


def present(*rows: bool) -> Prepared:
    return Prepared(x_BSK=torch.zeros(4, 1, 2), present_B=torch.tensor(rows))


def cross_entropies(logits_BK: torch.Tensor, smoothing: float = 0.0) -> np.ndarray:
    x_BK = logits_BK.double().numpy()
    log_p_BK = x_BK - np.log(np.exp(x_BK).sum(1, keepdims=True))
    return -(1 - smoothing) * log_p_BK[np.arange(4), LABELS_B.numpy()] - smoothing * log_p_BK.mean(1)


def test_the_sum_in_closed_form():
    out = FusionOutput(
        z_BD=torch.zeros(4, 1),
        logits_BK=logits(0),
        per_modality={"a": logits(1), "b": logits(2), "c": logits(3)},
        aux={"extra": torch.tensor(0.25)},
    )
    prepared = {
        "a": present(True, True, True, True),
        "b": present(False, True, False, True),  # only the clips that have it count
        "c": present(False, False, False, False),
    }
    loss, clips_B = training_loss(out, LABELS_B, prepared, label_smoothing=0.1, unimodal_weight=0.6)
    alone = cross_entropies(logits(1), 0.1).mean() + cross_entropies(logits(2), 0.1)[[1, 3]].mean()
    np.testing.assert_allclose(loss.item(), cross_entropies(logits(0), 0.1).mean() + 0.6 / 3 * alone + 0.25, rtol=1e-6)
    np.testing.assert_allclose(clips_B.numpy(), cross_entropies(logits(0), 0.1), rtol=1e-6)


def test_the_validation_loss_is_plain_cross_entropy():
    out = FusionOutput(z_BD=torch.zeros(4, 1), logits_BK=logits(0))
    np.testing.assert_allclose(fused_loss(out, LABELS_B).numpy(), cross_entropies(logits(0)), rtol=1e-6)


def test_without_weight_the_modalities_do_not_count():
    out = FusionOutput(z_BD=torch.zeros(4, 1), logits_BK=logits(0), per_modality={"a": logits(1)})
    prepared = {"a": present(True, True, True, True)}
    loss, _ = training_loss(out, LABELS_B, prepared, label_smoothing=0.0, unimodal_weight=0.0)
    assert loss.item() == fused_loss(out, LABELS_B).mean().item()


def test_class_weights_average_as_torch_does():
    weights_K = torch.tensor([0.5, 2.0, 3.0])
    out = FusionOutput(z_BD=torch.zeros(4, 1), logits_BK=logits(0), per_modality={"a": logits(1)})
    prepared = {"a": present(True, False, True, True)}
    loss, _ = training_loss(out, LABELS_B, prepared, label_smoothing=0.1, unimodal_weight=0.5, weights_K=weights_K)
    oracle = torch.nn.CrossEntropyLoss(weights_K, label_smoothing=0.1)
    has = [0, 2, 3]
    expected = oracle(logits(0), LABELS_B) + 0.5 * oracle(logits(1)[has], LABELS_B[has])
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-6)


def test_shares_of_classes_are_the_mix_of_two_labels():
    out = FusionOutput(z_BD=torch.zeros(4, 1), logits_BK=logits(0))
    other_B = torch.tensor([1, 1, 0, 2])
    one_hot = torch.nn.functional.one_hot
    shares_BK = 0.3 * one_hot(LABELS_B, 3).float() + 0.7 * one_hot(other_B, 3).float()
    expected_B = 0.3 * fused_loss(out, LABELS_B) + 0.7 * fused_loss(out, other_B)
    torch.testing.assert_close(fused_loss(out, shares_BK), expected_B)
    weights_K = torch.tensor([0.5, 2.0, 3.0])
    hard = one_hot(LABELS_B, 3).float()
    losses = [
        training_loss(out, target, {}, label_smoothing=0.0, unimodal_weight=0.0, weights_K=weights_K)[0].item()
        for target in (LABELS_B, hard)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)
