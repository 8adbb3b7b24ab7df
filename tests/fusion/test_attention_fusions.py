"""The fusions that attend, each against its formula written down once more in float64."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from mmpipe.config import EncoderConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.attention import Block, CrossBlock, attend, fitting_heads, masked_softmax
from mmpipe.fusion.base import Embedded, Fusion
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.registry import make_fusion
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

BATCH, STEPS, WIDTH, CLASSES = 7, 5, 8, ("a", "b", "c")
NAMES = ("audio@1", "image@1", "video@1")
INPUTS = tuple(
    InputSpec(feature=name, kind=FeatureKind.VECTOR if "image" in name else FeatureKind.SEQUENCE, dim=6)
    for name in NAMES
)
WAYS = list(itertools.product([True, False], repeat=3))[:-1]  # every way of being there, but that nothing is
OPTIONS: dict[str, dict[str, Any]] = {
    "bottleneck": {"tokens": 2, "layers": 3, "heads": 2},
    "cross_attn": {"queries": "video", "layers": 2, "heads": 2},
    "dual_attn": {},
    "hierarchical": {"segments": 3},
    "perceiver": {"latents": 3, "layers": 2, "heads": 2},
    "transformer": {"layers": 2, "heads": 2},
}


def spec_of(fusion: str, **options: Any) -> ModelSpec:
    encoder = EncoderConfig(width=WIDTH, segments=STEPS, components=0)
    return ModelSpec(fusion=fusion, inputs=INPUTS, classes=CLASSES, encoder=encoder, options=options)


def fusion_of(name: str, **options: Any) -> Any:
    """Return a fusion in float64 with parameters that no start value makes easy."""
    torch.manual_seed(4)
    fusion = make_fusion(spec_of(name, **options)).double().eval()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return fusion


def embedded_of(*, seed: int = 0) -> Embedded:
    """Return float64 tokens as the encoders give them: zero where missing; one row for each of `WAYS`."""
    draw = torch.Generator().manual_seed(seed)
    present_BM = torch.tensor(WAYS)
    tokens, masks = {}, {}
    for m, entry in enumerate(INPUTS):
        steps = STEPS if entry.kind is FeatureKind.SEQUENCE else 1
        real_B1 = torch.randint(1, steps + 1, (BATCH, 1), generator=draw)
        masks[entry.feature] = (torch.arange(steps) < real_B1) & present_BM[:, m, None]
        x_BSD = torch.randn(BATCH, steps, WIDTH, generator=draw, dtype=torch.float64)
        tokens[entry.feature] = x_BSD * masks[entry.feature][:, :, None]
    return Embedded(tokens=tokens, present=dict(zip(NAMES, present_BM.unbind(1), strict=True)), logits={}, masks=masks)


def rows_of(embedded: Embedded) -> Iterator[dict[str, Tensor]]:
    """Yield what every clip really has: the real tokens [1, S', D] of the modalities that are there."""
    for b in range(BATCH):
        yield {
            name: x_BSD[b : b + 1, embedded.mask_BS(name)[b]]
            for name, x_BSD in embedded.tokens.items()
            if embedded.present[name][b]
        }


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sdpa(q_BQD: Tensor, k_BLD: Tensor, v_BLD: Tensor, heads: int) -> Tensor:
    """Return multi-head attention as torch computes it, before the output map."""
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q_BQD, k_BLD, v_BLD))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def block_reference(block: Block, x_BLD: Tensor) -> Tensor:
    q, k, v = block.query_key_value(block.norm_attention(x_BLD)).chunk(3, 2)
    x_BLD = x_BLD + block.out(sdpa(q, k, v, block.num_heads))
    return x_BLD + cast(Tensor, block.hidden(block.norm_hidden(x_BLD)))


def cross_reference(block: CrossBlock, x_BQD: Tensor, source_BLD: Tensor) -> Tensor:
    k, v = block.key_value(block.norm_source(source_BLD)).chunk(2, 2)
    if block.spare:
        k, v = (torch.cat([part, torch.zeros_like(part[:, :1])], 1) for part in (k, v))
    x_BQD = x_BQD + block.out(sdpa(block.query(block.norm_query(x_BQD)), k, v, block.num_heads))
    return x_BQD + cast(Tensor, block.hidden(block.norm_hidden(x_BQD)))


# --------------------------------------------------------------------------- attention itself


@pytest.mark.parametrize("spare", [False, True])
def test_attention_is_what_torch_computes(spare: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 2, n, 3, generator=draw, dtype=torch.float64) for n in (5, 6, 6))
    mask_BL = torch.tensor([[True] * 6, [True] + [False] * 5, [True, False] * 3, [False] * 6])
    mixed_BQD, weights_BHQL = attend(q, k, v, mask_BL, spare=spare)
    seen_BL = mask_BL
    if spare:
        k, v = (torch.cat([x, torch.zeros_like(x[:, :, :1])], 2) for x in (k, v))
        seen_BL = torch.cat([mask_BL, torch.ones_like(mask_BL[:, :1])], 1)
    some = seen_BL.any(1)
    expected = scaled_dot_product_attention(q[some], k[some], v[some], attn_mask=seen_BL[some, None, None, :])
    torch.testing.assert_close(mixed_BQD[some], expected.transpose(1, 2).flatten(2))
    assert not mixed_BQD[3].any() and not weights_BHQL[3].any()  # no key: nothing is taken
    assert not weights_BHQL.transpose(1, 3)[~mask_BL].any()
    total_B = weights_BHQL[:3].sum(3)
    assert (total_B < 1).all() if spare else torch.allclose(total_B, torch.ones_like(total_B))


def test_a_softmax_over_nothing_is_zero_and_has_a_finite_gradient() -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    out = masked_softmax(scores, torch.tensor([[True, True], [False, False]]))
    assert out[1].tolist() == [0, 0] and out[0].sum().item() == pytest.approx(1)
    (out * torch.tensor([1.0, 2.0])).sum().backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all() and scores.grad[0].any()


def test_heads_are_halved_until_they_fit() -> None:
    assert [fitting_heads(width, 4) for width in (64, 6, 7)] == [4, 2, 1]
    assert fitting_heads(64, 24) == 1  # 24, 12, 6 and 3 do not divide 64


# --------------------------------------------------------------------------- each fusion, clip by clip


def test_transformer() -> None:
    fusion, embedded = fusion_of("transformer", layers=2, heads=2), embedded_of()
    z_BD = fusion(embedded).z_BD
    for b, row in enumerate(rows_of(embedded)):
        parts = [fusion.cls_D[None, None]]
        for name, x_1SD in row.items():
            parts.append(x_1SD + fusion.type_MD[NAMES.index(name)] + fusion.position_SD[: x_1SD.shape[1]])
        x_1LD = torch.cat(parts, 1)
        for block in fusion.blocks:
            x_1LD = block_reference(block, x_1LD)
        torch.testing.assert_close(z_BD[b], fusion.norm(x_1LD[0, 0]))


def test_bottleneck_averages_over_what_is_present() -> None:
    fusion, embedded = fusion_of("bottleneck", tokens=3, layers=3, heads=2), embedded_of()
    z_BD = fusion(embedded).z_BD
    for b, row in enumerate(rows_of(embedded)):
        x = {
            name: torch.cat(
                [fusion.cls_MD[None, None, NAMES.index(name)], x_1SD + fusion.position_SD[: x_1SD.shape[1]]], 1
            )
            for name, x_1SD in row.items()
        }
        shared_1ND = fusion.bottleneck_ND[None]
        for layer in fusion.layers:
            out = {name: block_reference(layer[name], torch.cat([x[name], shared_1ND], 1)) for name in row}
            shared_1ND = torch.stack([out[name][:, -3:] for name in row]).mean(0)
            x = {name: out[name][:, :-3] for name in row}
        torch.testing.assert_close(z_BD[b], torch.stack([fusion.norm(x[name][0, 0]) for name in row]).mean(0))


def test_modalities_meet_in_the_bottleneck_only_a_layer_later() -> None:
    fusion, embedded = fusion_of("bottleneck", layers=2), embedded_of()
    asked_BSD = embedded.tokens["audio@1"].requires_grad_()
    seen: list[Tensor] = []
    for layer in fusion.layers:
        layer["video@1"].register_forward_hook(lambda block, given, out: seen.append(out[0][0, 0].sum()))
    fusion(embedded)
    first, second = seen  # the video's own CLS token of clip 0 after either layer
    assert not any(part is not None for part in torch.autograd.grad(first, asked_BSD, allow_unused=True))
    (gradient_BSD,) = torch.autograd.grad(second, asked_BSD)
    assert gradient_BSD[0].any() and not gradient_BSD[1:].any()


@pytest.mark.parametrize("tokens", [0, 5])
def test_a_bottleneck_has_one_to_four_tokens(tokens: int) -> None:
    with pytest.raises(ConfigError, match="tokens"):
        make_fusion(spec_of("bottleneck", tokens=tokens))


def test_perceiver() -> None:
    fusion, embedded = fusion_of("perceiver", latents=3, layers=2, heads=2), embedded_of()
    out = fusion(embedded)
    for b, row in enumerate(rows_of(embedded)):
        tokens_1LD = torch.cat(
            [x + fusion.type_MD[NAMES.index(name)] + fusion.position_SD[: x.shape[1]] for name, x in row.items()], 1
        )
        x_1ND = fusion.latents_ND[None]
        for read, think in zip(fusion.reads, fusion.thinks, strict=True):
            x_1ND = block_reference(think, cross_reference(read, x_1ND, tokens_1LD))
        torch.testing.assert_close(out.z_BD[b], fusion.norm(x_1ND[0].mean(0)))
    shares_BM = torch.stack(list(out.weights.values()), 1)
    torch.testing.assert_close(shares_BM.sum(1), torch.ones(BATCH, dtype=torch.float64))
    assert torch.equal(shares_BM > 0, embedded.present_BM())


@pytest.mark.parametrize("queries", ["", "video", "audio@1"])
def test_cross_attention(queries: str) -> None:
    fusion, embedded = fusion_of("cross_attn", queries=queries, layers=2, heads=2), embedded_of()
    z_BD = fusion(embedded).z_BD
    asking = [name for name in NAMES if not queries or name.startswith(queries)]
    for b, row in enumerate(rows_of(embedded)):
        x = {name: x_1SD + fusion.position_SD[: x_1SD.shape[1]] for name, x_1SD in row.items()}
        h = []
        for name in asking:
            if name not in row and not queries:
                h.append(torch.zeros(WIDTH, dtype=torch.float64))
                continue
            start = x.get(name, fusion.position_SD[None])  # a missing one asks with its positions
            ends = [start] if set(row) <= {name} else []
            for source in row.keys() - {name}:
                z_1SD = start
                for block in fusion.takes[name][source]:
                    z_1SD = cross_reference(block, z_1SD, x[source])
                ends.append(z_1SD)
            h.append(torch.stack(ends).mean(0)[0].mean(0))
        fill = 1 if queries else 3 / len(row)
        torch.testing.assert_close(z_BD[b], gelu(fusion.mix(torch.cat(h) * fill)))


def test_who_asks_must_be_an_input() -> None:
    with pytest.raises(ConfigError, match=r"queries must be one of the inputs \['audio@1'.*got 'odour'"):
        make_fusion(spec_of("cross_attn", queries="odour"))


def test_dual_attention() -> None:
    fusion, embedded = fusion_of("dual_attn"), embedded_of()
    z_BD = fusion(embedded).z_BD
    for b, row in enumerate(rows_of(embedded)):
        x = {name: array(x_1SD[0]) for name, x_1SD in row.items()}
        chosen = []
        for name in row:
            hidden_SD = x[name] @ array(fusion.project[name].weight).T
            told = []
            for other in row.keys() - {name}:
                first, second = sorted((name, other))
                affinity = np.tanh(x[first] @ array(fusion.affinity[first][second].weight).T @ x[second].T)
                affinity = affinity if name == first else affinity.T
                told.append(affinity @ x[other] @ array(fusion.project[other].weight).T)
            if "image" in name:
                chosen.append(x[name][0])
                continue
            hidden_SD = np.tanh(hidden_SD + (np.mean(told, 0) if told else 0))
            chosen.append(softmax(hidden_SD @ array(fusion.score[name].weight)[0]) @ x[name])
        expected = np.tanh(np.mean(chosen, 0) @ array(fusion.mix.weight).T + array(fusion.mix.bias))
        np.testing.assert_allclose(array(z_BD[b]), expected, atol=1e-12)


def test_dual_attention_over_single_tokens_has_no_part_that_nothing_reads() -> None:
    inputs = tuple(InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=3) for name in NAMES)
    fusion = make_fusion(ModelSpec(fusion="dual_attn", inputs=inputs, classes=CLASSES))
    assert [name for name, _ in fusion.named_parameters()] == ["mix.weight", "mix.bias"]


def test_hierarchy() -> None:
    fusion, embedded = fusion_of("hierarchical", segments=2), embedded_of()
    out = fusion(embedded)

    def pooled(pool: Any, x_LD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hidden_LD = np.tanh(x_LD @ array(pool.hidden.weight).T + array(pool.hidden.bias))
        a_L = softmax(hidden_LD @ array(pool.score.weight)[0])
        return a_L @ x_LD, a_L

    for b in range(BATCH):
        modalities = {}
        for name in (name for name in NAMES if embedded.present[name][b]):
            x_SD, real_S = array(embedded.tokens[name][b]), embedded.mask_BS(name)[b].numpy()
            if "image" in name:
                modalities[name] = x_SD[0]
                continue
            runs = [run[real_S[run]] for run in (np.arange(0, 2), np.arange(2, 5))]  # floor(g 5 / 2)
            segments = [pooled(fusion.over_tokens[name], x_SD[run])[0] for run in runs if len(run)]
            got_GD = array(out.levels[f"segment {name}"][b])
            np.testing.assert_allclose(got_GD[: len(segments)], segments, atol=1e-12)
            assert not got_GD[len(segments) :].any()  # a segment without a real token
            modalities[name] = pooled(fusion.over_segments[name], np.stack(segments))[0]
        for name in NAMES:
            expected_D = modalities.get(name, np.zeros(WIDTH))
            np.testing.assert_allclose(array(out.levels[f"modality {name}"][b]), expected_D, atol=1e-12)
        joint_D, shares = pooled(fusion.over_modalities, np.stack(list(modalities.values())))
        np.testing.assert_allclose(array(out.z_BD[b]), joint_D, atol=1e-12)
        np.testing.assert_allclose([out.weights[name][b].item() for name in modalities], shares, atol=1e-12)


def test_the_levels_come_out_of_the_whole_network() -> None:
    model = FusionModel(spec_of("hierarchical")).eval()
    features = features_of(model)
    levels = model(features).levels
    assert levels["segment audio@1"].shape == (12, 2, WIDTH) and levels["segment image@1"].shape == (12, 1, WIDTH)
    assert levels["modality video@1"].shape == (12, WIDTH)


# --------------------------------------------------------------------------- with options, as a whole network


def features_of(model: FusionModel) -> dict[str, tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(5)
    frames = {entry.feature: 7 if entry.kind is FeatureKind.SEQUENCE else 1 for entry in model.spec.inputs}
    return {
        name: (torch.randn(12, count, 6, generator=draw), torch.ones(12, count, dtype=torch.bool))
        for name, count in frames.items()
    }


@pytest.mark.parametrize("fusion", OPTIONS)
def test_with_options_every_parameter_learns_and_one_batch_is_learned_by_heart(fusion: str) -> None:
    torch.manual_seed(3)
    model = FusionModel(spec_of(fusion, **OPTIONS[fusion])).train()
    prepared, labels_B = model.prepare(features_of(model)), torch.arange(12) % 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(100):
        out = model.forward_prepared(prepared)
        assert out.logits_BK is not None
        loss = sum(
            (cross_entropy(x, labels_B) for x in out.per_modality.values()), cross_entropy(out.logits_BK, labels_B)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert not dead
    assert out.logits_BK is not None and cross_entropy(out.logits_BK, labels_B).item() < 0.02


@pytest.mark.parametrize("fusion", OPTIONS)
def test_options_that_there_are_not_are_refused(fusion: str) -> None:
    with pytest.raises(ConfigError, match=f"fusion_options.{fusion}"):
        make_fusion(spec_of(fusion, depth=3))


def test_defaults_are_those_that_saved_models_have() -> None:
    torch.manual_seed(0)
    plain: Fusion = make_fusion(spec_of("transformer"))
    torch.manual_seed(0)
    said = make_fusion(spec_of("transformer", layers=1, heads=4))
    assert isinstance(plain.blocks, nn.ModuleList) and len(plain.blocks) == 1
    for name, value in plain.state_dict().items():
        assert torch.equal(value, said.state_dict()[name])
