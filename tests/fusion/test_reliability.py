"""The mix that may doubt a modality of a clip: its formula, how its experts learn, and when it selects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmpipe.config import EncoderConfig, TrainConfig
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.registry import make_fusion
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.loop import Trained, train_network
from mmpipe.train.weights import infer
from mmpipe.types import Batch, FeatureKind, ModalityBatch

NAMES, CLASSES, DIM = ("ear@1", "eye@1"), tuple("abcdefgh"), 12
TRAIN, VAL, TEST = np.arange(400), np.arange(400, 700), np.arange(700, 1300)
ENCODER = EncoderConfig(width=8, components=0)


def spec_of(fusion: str, names: tuple[str, ...] = NAMES, num_classes: int = len(CLASSES)) -> ModelSpec:
    inputs = tuple(InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=DIM) for name in names)
    return ModelSpec(fusion=fusion, inputs=inputs, classes=CLASSES[:num_classes], encoder=ENCODER, dropout=0.1)


# --------------------------------------------------------------------------- the formula


def fusion_and_embedded() -> tuple[Any, Embedded]:
    torch.manual_seed(2)
    fusion = make_fusion(spec_of("reliability", num_classes=3)).double().eval()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.randn_like(parameter))
    present_BM = torch.tensor([[True, True], [True, False], [False, True], [False, False], [True, True]])
    h_BMSD = torch.randn(5, 2, 1, 8, dtype=torch.float64) * present_BM[:, :, None, None]
    logits_BMK = (torch.randn(5, 2, 3, dtype=torch.float64) * 2).requires_grad_()
    parts = (dict(zip(NAMES, part.unbind(1), strict=True)) for part in (h_BMSD, present_BM, logits_BMK))
    tokens, present, logits = parts
    return fusion, Embedded(tokens=tokens, present=present, logits=logits)


def test_the_formula() -> None:
    fusion, embedded = fusion_and_embedded()
    out = fusion(embedded)
    t_M, c_M, d_ME = (getattr(fusion, name).detach().numpy() for name in fusion.mixing)
    assert out.logits_BK is not None
    for b in range(5):
        p_K, trusted, spoke = np.ones(3), {}, {}
        for m, name in enumerate(NAMES):
            if not embedded.present[name][b]:
                continue
            l_K, h_D = embedded.logits[name][b].detach().numpy(), embedded.tokens[name][b, 0].numpy()
            own_K = np.exp(l_K / np.exp(3 * np.tanh(t_M[m] / 3)))
            own_K /= own_K.sum()
            certainty = 1 + (own_K * np.log(own_K)).sum() / np.log(3)
            energy = (np.log(np.exp(l_K).sum()) - l_K.mean()) / np.log(3)
            evidence_E = 3 * np.array([2 * certainty - 1, energy / 2 - 1.5, np.log((h_D**2).mean()) / 2])
            trusted[name] = 1 / (1 + np.exp(-(2 + c_M[m] + d_ME[m] @ evidence_E)))
            doubted_K = trusted[name] * own_K + (1 - trusted[name]) / 3
            p_K, spoke[name] = p_K * doubted_K, trusted[name] * own_K / doubted_K
        np.testing.assert_allclose(out.logits_BK[b].detach().numpy(), np.log(p_K / p_K.sum()), atol=1e-12)
        for name in NAMES:
            chances = {other: p_K / p_K.sum() @ spoke_K for other, spoke_K in spoke.items()}
            share = chances.get(name, 0.0) / max(sum(chances.values()), 1e-9)
            assert out.weights[name][b].item() == pytest.approx(share, abs=1e-12)


def test_every_expert_learns_as_if_it_were_alone() -> None:
    fusion, embedded = fusion_and_embedded()
    fusion.train()
    labels_B = torch.tensor([0, 1, 2, 0, 1])
    out = fusion(embedded)
    assert out.logits_BK is not None
    (cross_entropy(out.logits_BK, labels_B) + out.aux["experts"]).backward(inputs=_leaves(embedded))
    for name, logits_BK in embedded.logits.items():
        wanted_BK = (logits_BK.detach().softmax(1) - torch.eye(3)[labels_B]) / 5
        torch.testing.assert_close(_gradient(embedded, name), wanted_BK * embedded.present[name][:, None])


def _leaves(embedded: Embedded) -> list[Tensor]:
    leaf = next(iter(embedded.logits.values()))._base
    assert leaf is not None
    return [leaf]


def _gradient(embedded: Embedded, name: str) -> Tensor:
    gradient_BMK = _leaves(embedded)[0].grad
    assert gradient_BMK is not None
    return gradient_BMK[:, NAMES.index(name)]


def test_what_is_fitted_on_validation_clips_does_not_learn_from_training_clips() -> None:
    fusion, embedded = fusion_and_embedded()
    for mode in (True, False):
        fusion.zero_grad()
        cross_entropy(fusion.train(mode)(embedded).logits_BK, torch.zeros(5, dtype=torch.int64)).backward()
        assert all(bool(getattr(fusion, name).grad.any()) is not mode for name in fusion.mixing)


# --------------------------------------------------------------------------- selection, trained


class TwoSenses:
    """Clips of two vectors around a mean of their class; in some clips the ear's is noise alone."""

    def __init__(self, noisy_share: float, loudness: float = 4.0, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        count, num_classes = len(TRAIN) + len(VAL) + len(TEST), len(CLASSES)
        self.labels_N = draw.integers(0, num_classes, count)
        centres = draw.normal(size=(2, num_classes, DIM))
        self.x_MND = (centres[:, self.labels_N] + draw.normal(size=(2, count, DIM))).astype(np.float32)
        self.noisy_N = (draw.random(count) < noisy_share) & (np.arange(count) >= len(TRAIN))
        noise_ND = draw.normal(size=(count, DIM)) * loudness
        self.x_MND[0, self.noisy_N] = noise_ND[self.noisy_N]

    def gather(self, rows: np.ndarray) -> Batch:
        features = {
            name: ModalityBatch(x_BTD=self.x_MND[m, rows][:, None], mask_BT=np.ones((len(rows), 1), bool))
            for m, name in enumerate(NAMES)
        }
        return Batch(keys=tuple(map(str, rows)), features=features, labels_B=self.labels_N[rows])


def train(fusion: str, source: TwoSenses, names: tuple[str, ...] = NAMES) -> Trained:
    config = TrainConfig(epochs=25, batch_clips=32, learning_rate=0.01)
    return train_network(spec_of(fusion, names), source, source.labels_N, TRAIN, VAL, config, 0)


def accuracy(trained: Trained, source: TwoSenses) -> float:
    return float((infer(trained.model, source, TEST).answers_N.argmax(1) == source.labels_N[TEST]).mean())


def trust_in_ear(trained: Trained, source: TwoSenses) -> np.ndarray:
    batch = source.gather(TEST)
    features = {
        name: (torch.from_numpy(part.x_BTD), torch.from_numpy(part.mask_BT)) for name, part in batch.features.items()
    }
    with torch.no_grad():
        return np.asarray(trained.model(features).weights[NAMES[0]])


def test_where_one_modality_is_noise_the_other_is_trusted() -> None:
    source = TwoSenses(noisy_share=0.4)
    trained = train("reliability", source)
    ear_N, noisy_N = trust_in_ear(trained, source), source.noisy_N[TEST]
    assert ear_N[noisy_N].mean() < 0.1
    assert ear_N[~noisy_N].mean() > 0.35
    alone = max(accuracy(train("unimodal", source, (name,)), source) for name in NAMES)
    assert accuracy(trained, source) > max(alone, accuracy(train("late_weighted", source), source))
    assert accuracy(trained, source) > accuracy(train("late_product", source), source) + 0.2


def test_where_both_are_sound_neither_is_doubted() -> None:
    source = TwoSenses(noisy_share=0.0)
    trained = train("reliability", source)
    assert np.abs(trust_in_ear(trained, source) - 0.5).mean() < 0.1
    assert accuracy(trained, source) > accuracy(train("late_weighted", source), source) - 0.01
