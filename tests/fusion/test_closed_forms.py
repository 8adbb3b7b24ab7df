"""Each fusion against its formula, written down once more in float64 NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf, expit
from torch import nn

from mmpipe.config import EncoderConfig
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import fusion_names, make_fusion
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

BATCH, STEPS, WIDTH, CLASSES = 9, 3, 4, ("a", "b", "c")
NAMES = ("audio@1", "image@1", "video@1")
FUSED = [name for name in fusion_names() if name != "unimodal" and not name.startswith("test_")]
STOPS_GRADIENTS = {"reliability"}  # what it reads its trust off must not learn to look trustworthy
INPUTS = tuple(InputSpec(feature=name, kind=FeatureKind.SEQUENCE, dim=5) for name in NAMES)


def fusion_of(name: str, **options: Any) -> Any:
    """Return a fusion in float64 with parameters that no start value makes easy."""
    torch.manual_seed(4)
    encoder = EncoderConfig(width=WIDTH, segments=STEPS)
    fusion = make_fusion(ModelSpec(fusion=name, inputs=INPUTS, classes=CLASSES, encoder=encoder, options=options))
    fusion = fusion.double().eval()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return fusion


def embedded_of(*, seed: int = 0, batch: int = BATCH, steps: int = 1) -> Embedded:
    """Return float64 embeddings as the encoders give them: zero where missing, in every way but all at once."""
    draw = np.random.default_rng(seed)
    ways = list(itertools.product([True, False], repeat=3))[:-1]
    present_BM = torch.tensor([ways[b % len(ways)] for b in range(batch)])
    h_BMSD = torch.from_numpy(draw.normal(size=(batch, 3, steps, WIDTH))) * present_BM[:, :, None, None]
    logits_BMK = torch.from_numpy(draw.normal(size=(batch, 3, len(CLASSES))))
    return Embedded(
        tokens=dict(zip(NAMES, h_BMSD.unbind(1), strict=True)),
        present=dict(zip(NAMES, present_BM.unbind(1), strict=True)),
        logits=dict(zip(NAMES, logits_BMK.unbind(1), strict=True)),
    )


def arrays(embedded: Embedded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return h [B, M, D], presence [B, M], and the modalities' own probabilities [B, M, K]."""
    return embedded.vectors_BMD().numpy(), embedded.present_BM().numpy(), softmax(embedded.logits_BMK().numpy())


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def linear(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    assert isinstance(layer, nn.Linear)
    return x @ array(layer.weight).T + (0.0 if layer.bias is None else array(layer.bias))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def side_by_side(h_BMD: np.ndarray, present_BM: np.ndarray) -> np.ndarray:
    return h_BMD.reshape(len(h_BMD), -1) * (3 / present_BM.sum(1, keepdims=True))


def assert_close(tensor: torch.Tensor, expected: np.ndarray) -> None:
    assert tensor.dtype == torch.float64
    np.testing.assert_allclose(array(tensor), expected, rtol=1e-11, atol=1e-12)


def shares_of(out: FusionOutput) -> np.ndarray:
    return array(torch.stack([out.weights[name] for name in NAMES], 1))


def renormalised(weights_M: np.ndarray, present_BM: np.ndarray) -> np.ndarray:
    return weights_M * present_BM / (weights_M * present_BM).sum(1, keepdims=True)


WEIGHTS = {"audio": 6, "image@1": 3, "video": 1}
WEIGHTS_M = np.array([0.6, 0.3, 0.1])


@pytest.mark.parametrize("options", [{}, {"weights": WEIGHTS}])
def test_early_weighted(options: dict[str, Any]) -> None:
    fusion, embedded = fusion_of("early_weighted", **options), embedded_of()
    h_BMD, present_BM, _ = arrays(embedded)
    a_BM = renormalised(WEIGHTS_M if options else softmax(array(fusion.scores_M)), present_BM)
    tolerance = 1e-6 if options else 1e-12  # what a person sets is kept in float32
    np.testing.assert_allclose(array(fusion(embedded).z_BD), np.einsum("bm,bmd->bd", a_BM, h_BMD), atol=tolerance)
    np.testing.assert_allclose(shares_of(fusion(embedded)), a_BM, atol=tolerance)


@pytest.mark.parametrize("options", [{}, {"weights": WEIGHTS}])
def test_late_weighted(options: dict[str, Any]) -> None:
    fusion, embedded = fusion_of("late_weighted", **options), embedded_of()
    h_BMD, present_BM, _ = arrays(embedded)
    g_BM = renormalised(WEIGHTS_M if options else softmax(array(fusion.scores_M)), present_BM)
    p_BMK = softmax(embedded.logits_BMK().numpy() / np.exp(array(fusion.log_temperature_M))[:, None])
    p_BK = np.einsum("bm,bmk->bk", g_BM, p_BMK)
    out, tolerance = fusion(embedded), 1e-6 if options else 1e-12
    np.testing.assert_allclose(array(out.logits_BK), np.log(p_BK), atol=tolerance)
    np.testing.assert_allclose(array(out.z_BD), np.einsum("bm,bmd->bd", g_BM, h_BMD), atol=tolerance)


def test_late_logits() -> None:
    fusion, embedded = fusion_of("late_logits"), embedded_of()
    h_BMD, present_BM, p_BMK = arrays(embedded)
    pool_BK = np.prod(np.where(present_BM[:, :, None], p_BMK, 1.0), 1) ** (1 / present_BM.sum(1, keepdims=True))
    out = fusion(embedded)
    assert_close(out.logits_BK.softmax(1), pool_BK / pool_BK.sum(1, keepdims=True))
    assert_close(out.z_BD, h_BMD.sum(1) / present_BM.sum(1, keepdims=True))
    full = present_BM.all(1)
    np.testing.assert_allclose(array(out.logits_BK)[full], embedded.logits_BMK().numpy()[full].mean(1), atol=1e-12)


def test_late_product() -> None:
    fusion, embedded = fusion_of("late_product"), embedded_of()
    _, present_BM, p_BMK = arrays(embedded)
    product_BK = np.prod(np.where(present_BM[:, :, None], p_BMK, 1.0), 1)
    assert_close(fusion(embedded).logits_BK, np.log(product_BK / product_BK.sum(1, keepdims=True)))


def test_hybrid() -> None:
    fusion, embedded = fusion_of("hybrid"), embedded_of()
    h_BMD, present_BM, p_BMK = arrays(embedded)
    z_BD = gelu(linear(fusion.mix[0], side_by_side(h_BMD, present_BM)))
    there_BJ = np.concatenate([np.ones((BATCH, 1)), present_BM], 1)
    g_BJ = renormalised(softmax(array(fusion.scores_J)), there_BJ)
    p_BJK = np.concatenate([softmax(linear(fusion.joint, z_BD))[:, None], p_BMK], 1)
    out = fusion(embedded)
    assert_close(out.logits_BK.softmax(1), np.einsum("bj,bjk->bk", g_BJ, p_BJK))
    assert_close(out.z_BD, z_BD)
    np.testing.assert_allclose(1 - shares_of(out).sum(1), g_BJ[:, 0], atol=1e-12)


def test_concat() -> None:
    fusion, embedded = fusion_of("concat"), embedded_of()
    h_BMD, present_BM, _ = arrays(embedded)
    assert_close(fusion(embedded).z_BD, gelu(linear(fusion.mix, side_by_side(h_BMD, present_BM))))


def test_hadamard_is_the_product_over_what_is_present() -> None:
    embedded = embedded_of()
    h_BMD, present_BM, _ = arrays(embedded)
    rows = [np.prod(1 + h_MD[present_M], axis=0) for h_MD, present_M in zip(h_BMD, present_BM, strict=True)]
    assert_close(fusion_of("hadamard")(embedded).z_BD, np.stack(rows))


def test_pools_look_at_nothing_but_what_is_present() -> None:
    embedded = embedded_of()
    h_BMD, present_BM, _ = arrays(embedded)
    for name, pool in (("pool_max", np.max), ("pool_mean", np.mean)):
        rows = [pool(h_MD[present_M], axis=0) for h_MD, present_M in zip(h_BMD, present_BM, strict=True)]
        assert_close(fusion_of(name)(embedded).z_BD, np.stack(rows))
    won_BD = np.where(present_BM[:, :, None], h_BMD, -np.inf).argmax(1)
    shares_BM = np.stack([(won_BD == m).mean(1) for m in range(3)], 1)
    np.testing.assert_allclose(shares_of(fusion_of("pool_max")(embedded)), shares_BM)


def test_gmu() -> None:
    fusion, embedded = fusion_of("gmu"), embedded_of()
    h_BMD, present_BM, _ = arrays(embedded)
    all_BE = h_BMD.reshape(BATCH, -1)
    gate_weight, gate_bias = array(fusion.gates.weight), array(fusion.gates.bias)
    z_BD, open_BM = np.zeros((BATCH, WIDTH)), np.zeros((BATCH, 3))
    for m in range(3):
        rows = slice(m * WIDTH, (m + 1) * WIDTH)
        gate_BD = expit(all_BE @ gate_weight[rows].T + gate_bias[rows])
        z_BD += gate_BD * np.tanh(h_BMD[:, m] @ array(fusion.values[m].weight).T) * present_BM[:, m, None]
        open_BM[:, m] = gate_BD.mean(1) * present_BM[:, m]
    out = fusion(embedded)
    assert_close(out.z_BD, z_BD)
    np.testing.assert_allclose(shares_of(out), open_BM / open_BM.sum(1, keepdims=True), atol=1e-12)


def outer_product(h_BMD: np.ndarray) -> np.ndarray:
    """Return [1; h_1] x [1; h_2] x [1; h_3] of every clip, [B, E, E, E]."""
    one_h_BME = np.concatenate([np.ones((*h_BMD.shape[:2], 1)), h_BMD], 2)
    return np.einsum("bi,bj,bk->bijk", *one_h_BME.transpose(1, 0, 2))


def test_tfn_is_the_outer_product() -> None:
    embedded = embedded_of()
    h_BMD, *_ = arrays(embedded)
    tensor_BEEE = outer_product(h_BMD)
    out = fusion_of("tfn")(embedded)
    assert_close(out.z_BD, tensor_BEEE.reshape(BATCH, -1))
    assert out.z_BD.shape[1] == fusion_of("tfn").z_dim == 125
    alone = np.flatnonzero(embedded.present_BM().numpy().sum(1) == 1)[0]
    assert np.count_nonzero(tensor_BEEE[alone]) == 1 + WIDTH  # of the missing ones only the constant is left


def test_tfn_of_mapped_embeddings() -> None:
    fusion, embedded = fusion_of("tfn", width=2), embedded_of()
    h_BMD, *_ = arrays(embedded)
    mapped_BMW = np.stack([linear(fusion.maps[m], h_BMD[:, m]) for m in range(3)], 1)
    assert_close(fusion(embedded).z_BD, outer_product(mapped_BMW).reshape(BATCH, -1))


@pytest.mark.parametrize("rank", [1, 5])
def test_lmf_is_the_tensor_contracted_with_the_weights_that_its_factors_make(rank: int) -> None:
    fusion, embedded = fusion_of("lmf", rank=rank), embedded_of()
    h_BMD, *_ = arrays(embedded)
    factors = [array(factor_RED) for factor_RED in fusion.factors_RED]
    assert [factor_RED.shape for factor_RED in factors] == [(rank, 1 + WIDTH, WIDTH)] * 3
    weights_EEED = np.einsum("rid,rjd,rkd->ijkd", *factors)
    assert_close(fusion(embedded).z_BD, np.einsum("bijk,ijkd->bd", outer_product(h_BMD), weights_EEED))


@pytest.mark.parametrize("layers", [1, 3])
def test_deep(layers: int) -> None:
    fusion, embedded = fusion_of("deep", layers=layers), embedded_of()
    h_BMD, present_BM, _ = arrays(embedded)
    fill_B1, share_LM = 3 / present_BM.sum(1, keepdims=True), array(fusion.share_LM)
    c_BD = np.einsum("m,bmd->bd", share_LM[0], h_BMD) * fill_B1
    for number in range(layers):
        own = [gelu(linear(fusion.own[number][m][0], h_BMD[:, m])) for m in range(3)]
        h_BMD = np.stack(own, 1) * present_BM[:, :, None]
        c_BD = array(fusion.share_central_L)[number] * gelu(linear(fusion.central[number][0], c_BD))
        c_BD = c_BD + np.einsum("m,bmd->bd", share_LM[number + 1], h_BMD) * fill_B1
    out = fusion(embedded)
    assert_close(out.z_BD, c_BD)
    for m, name in enumerate(NAMES):
        assert_close(out.alone[name], h_BMD[:, m])


def test_early_concat_reads_aligned_steps_with_a_gru() -> None:
    fusion, embedded = fusion_of("early_concat"), embedded_of(steps=STEPS)
    image = embedded.tokens["image@1"][:, :1]  # an input without time stands beside every step
    embedded = Embedded(tokens={**embedded.tokens, "image@1": image}, present=embedded.present, logits=embedded.logits)
    parts = [embedded.tokens[name].expand(-1, STEPS, -1).numpy() for name in NAMES]
    x_BSE = np.concatenate(parts, 2) * (3 / embedded.present_BM().numpy().sum(1))[:, None, None]
    weights = {name.rpartition(".")[2]: array(value) for name, value in fusion.reader.named_parameters()}
    steps_B = np.stack([[3, 1, 3][m] * embedded.present_BM().numpy()[:, m] for m in range(3)], 1).max(1)
    h_BD = np.zeros((BATCH, WIDTH))
    for step in range(STEPS):
        into_BG = x_BSE[:, step] @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        back_BG = h_BD @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        (r, z, n), (r_back, z_back, n_back) = np.split(into_BG, 3, 1), np.split(back_BG, 3, 1)
        update_BD = expit(z + z_back)
        new_BD = (1 - update_BD) * np.tanh(n + expit(r + r_back) * n_back) + update_BD * h_BD
        h_BD = np.where((step < steps_B)[:, None], new_BD, h_BD)
    assert_close(fusion(embedded).z_BD, h_BD)


def test_early_concat_stretches_a_shorter_modality_over_the_steps_of_the_longest() -> None:
    fusion = fusion_of("early_concat", cell="lstm")
    draw = torch.Generator().manual_seed(2)
    tokens = {name: torch.randn(2, 6, WIDTH, generator=draw, dtype=torch.float64) for name in NAMES}
    lengths = {"audio@1": [4, 6], "image@1": [1, 2], "video@1": [2, 3]}
    masks = {name: torch.arange(6) < torch.tensor(lengths[name])[:, None] for name in NAMES}
    present = {name: torch.ones(2, dtype=torch.bool) for name in NAMES}
    out = fusion(Embedded(tokens=tokens, present=present, logits={}, masks=masks))
    read = {"audio@1": [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5]], "image@1": [[0] * 4, [0, 0, 0, 1, 1, 1]]}
    read["video@1"] = [[0, 0, 1, 1], [0, 0, 1, 1, 2, 2]]
    for clip in range(2):
        by_hand = {name: tokens[name][clip : clip + 1, read[name][clip]] for name in NAMES}
        alone = fusion(Embedded(tokens=by_hand, present={n: torch.tensor([True]) for n in NAMES}, logits={}))
        torch.testing.assert_close(out.z_BD[clip : clip + 1], alone.z_BD, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in FUSED if name not in STOPS_GRADIENTS])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    fusion, embedded = fusion_of(name), embedded_of(batch=3, steps=2)
    start = [x.clone().requires_grad_() for x in [*embedded.tokens.values(), *embedded.logits.values()]]

    def run(*parts: torch.Tensor) -> Any:
        out = fusion(
            Embedded(
                tokens=dict(zip(NAMES, parts[:3], strict=True)),
                present=embedded.present,
                logits=dict(zip(NAMES, parts[3:], strict=True)),
            )
        )
        return out.z_BD if out.logits_BK is None else (out.z_BD, out.logits_BK)

    assert torch.autograd.gradcheck(run, start, fast_mode=True)
