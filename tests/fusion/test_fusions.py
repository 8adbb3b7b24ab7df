"""What every fusion must do, whatever its name."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from mmpipe.config import EncoderConfig
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.registry import fusion_names
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

AUDIO = InputSpec(feature="audio-logmel@1", kind=FeatureKind.SEQUENCE, dim=6)
IMAGE = InputSpec(feature="image-hog@1", kind=FeatureKind.VECTOR, dim=9)
VIDEO = InputSpec(feature="video-hogdct@1", kind=FeatureKind.SEQUENCE, dim=5)
CLASSES = ("a", "b", "c")
NAMES = [name for name in fusion_names() if not name.startswith("test_")]
FUSED = [name for name in NAMES if name != "unimodal"]
REST_ELSEWHERE = {"transformer", "hybrid"}  # part of the attention goes to CLS, of the decision to the joint one
BATCH = 12


def model_of(fusion: str, inputs=(AUDIO, IMAGE, VIDEO), **encoder) -> FusionModel:
    torch.manual_seed(3)
    inputs = (AUDIO,) if fusion == "unimodal" else inputs
    config = EncoderConfig(**{"segments": 3, "components": 8, "width": 8, **encoder})
    return FusionModel(ModelSpec(fusion=fusion, inputs=inputs, classes=CLASSES, encoder=config)).eval()


def features_of(model: FusionModel, seed: int = 0, batch: int = BATCH):
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for entry in model.spec.inputs:
        frames = 7 if entry.kind is FeatureKind.SEQUENCE else 1
        real_B1 = torch.randint(1, frames + 1, (batch, 1), generator=generator)
        out[entry.feature] = (
            torch.randn(batch, frames, entry.dim, generator=generator),
            torch.arange(frames) < real_B1,
        )
    return out


def all_parts(out):
    return {
        "z": out.z_BD,
        "logits": out.logits_BK,
        **{f"alone {k}": v for k, v in out.per_modality.items()},
        **{f"weight {k}": v for k, v in out.weights.items()},
    }


def assert_same(one, other, **tolerance):
    left, right = all_parts(one), all_parts(other)
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], msg=lambda text, n=name: f"{n}: {text}", **tolerance)


@pytest.mark.parametrize("hidden_layers", [0, 2])
@pytest.mark.parametrize("fusion", NAMES)
def test_shapes_and_every_parameter_learns(fusion, hidden_layers):
    model = model_of(fusion, hidden_layers=hidden_layers).train()
    features = features_of(model)
    out = model(features)
    assert out.z_BD.shape == (BATCH, model.fusion.z_dim)
    assert out.logits_BK.shape == (BATCH, 3)
    assert all(torch.isfinite(part).all() for part in all_parts(out).values())
    assert set(out.per_modality) == (set() if fusion == "unimodal" else set(model.spec.features))
    labels_B = torch.arange(BATCH) % 3
    loss = sum(cross_entropy(logits_BK, labels_B) for logits_BK in [out.logits_BK, *out.per_modality.values()])
    loss.backward()
    parameters = dict(model.named_parameters())
    weighing = {f"fusion.{name}" for name in model.fusion.mixing}  # fitted on validation clips, whatever training does
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or name in weighing, name
    cross_entropy(model.eval()(features).logits_BK, labels_B).backward()
    assert all(parameters[name].grad.abs().max() > 0 for name in weighing)
    assert parameters.keys() <= model.state_dict().keys()
    assert all(value.is_contiguous() for value in model.state_dict().values())


@pytest.mark.parametrize("fusion", FUSED)
def test_shares_add_up_over_what_is_present(fusion):
    model = model_of(fusion)
    features = features_of(model)
    features[IMAGE.feature][1][0] = False
    weights = model(features).weights
    if not weights:
        return
    shares_BM = torch.stack(list(weights.values()), 1)
    assert (shares_BM >= 0).all()
    assert weights[IMAGE.feature][0] == 0
    limit = shares_BM.sum(1)
    if fusion in REST_ELSEWHERE:
        assert (limit < 1).all()
    else:
        torch.testing.assert_close(limit, torch.ones(BATCH))


@pytest.mark.parametrize("fusion", NAMES)
def test_padding_does_not_show(fusion):
    model = model_of(fusion)
    features = features_of(model)
    expected = model(features)
    for x_BTD, mask_BT in features.values():
        x_BTD[~mask_BT] = 1e6
    assert_same(model(features), expected, rtol=0, atol=0)
    grown = {
        name: (torch.nn.functional.pad(x, (0, 0, 0, 9), value=5.0), torch.nn.functional.pad(mask, (0, 9)))
        for name, (x, mask) in features.items()
    }
    assert_same(model(grown), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fusion", FUSED)
def test_a_masked_modality_is_the_same_as_an_absent_key(fusion):
    model = model_of(fusion)
    features = features_of(model)
    for size in (1, 2):
        for shown in itertools.combinations(model.spec.features, size):
            absent = model({name: features[name] for name in shown})
            masked = {n: (x, mask & (n in shown)) for n, (x, mask) in features.items()}
            assert_same(model(masked), absent, rtol=0, atol=0)
            assert torch.isfinite(absent.logits_BK).all()


@pytest.mark.parametrize("fusion", NAMES)
def test_a_clip_without_anything_is_finite_and_alone_in_it(fusion):
    model = model_of(fusion).train()
    features = features_of(model)
    expected = model(features)
    for _, mask_BT in features.values():
        mask_BT[4] = False
    out = model(features)
    assert all(torch.isfinite(part).all() for part in all_parts(out).values())
    others = [row for row in range(BATCH) if row != 4]
    torch.testing.assert_close(out.logits_BK[others], expected.logits_BK[others], rtol=0, atol=1e-6)
    cross_entropy(out.logits_BK, torch.zeros(BATCH, dtype=torch.int64)).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("fusion", FUSED)
def test_order_of_modalities_does_not_matter(fusion):
    model, other = model_of(fusion), model_of(fusion, inputs=(VIDEO, AUDIO, IMAGE))
    features = features_of(model)
    assert_same(other(dict(reversed(features.items()))), model(features), rtol=0, atol=0)


@pytest.mark.parametrize("fusion", NAMES)
def test_prepared_features_give_the_same(fusion):
    model = model_of(fusion)
    features = features_of(model)
    assert_same(model.forward_prepared(model.prepare(features)), model(features), rtol=0, atol=0)


@pytest.mark.parametrize("fusion", NAMES)
def test_one_batch_can_be_learned_by_heart(fusion):
    model = model_of(fusion, hidden_layers=1).train()
    prepared = model.prepare(features_of(model, seed=5))
    labels_B = torch.arange(BATCH) % 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.0)
    for _ in range(200):
        loss = cross_entropy(model.forward_prepared(prepared).logits_BK, labels_B)
        if loss.item() < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_features_that_the_model_does_not_read_are_ignored_but_one_must_be_known():
    model = model_of("concat")
    features = features_of(model)
    stray = {**features, "other@1": features[AUDIO.feature]}
    assert_same(model(stray), model(features), rtol=0, atol=0)
    with pytest.raises(ValueError, match="none of the model's features"):
        model({"other@1": features[AUDIO.feature]})


def test_unimodal_with_a_linear_encoder_is_linear():
    model = model_of("unimodal")
    draw = torch.Generator().manual_seed(0)
    x_BTD, y_BTD = (torch.randn(BATCH, 7, AUDIO.dim, generator=draw) for _ in range(2))  # far from where it clips
    mask_BT = torch.ones(BATCH, 7, dtype=torch.bool)
    whole, one, other, zero = (
        model({AUDIO.feature: (x, mask_BT)}).logits_BK for x in (x_BTD + y_BTD, x_BTD, y_BTD, torch.zeros_like(x_BTD))
    )
    torch.testing.assert_close(whole + zero, one + other, rtol=0, atol=1e-5)
    assert (whole - one).abs().max() > 0.1


@pytest.mark.parametrize("fusion", ["concat", "tfn", "early_concat"])
def test_a_linear_head_decides_on_z_where_the_fusion_does_not(fusion):
    model = model_of(fusion)
    out = model(features_of(model))
    torch.testing.assert_close(out.logits_BK, out.z_BD @ model.head.weight.T + model.head.bias)


def test_each_modality_of_the_deep_fusion_is_judged_by_the_last_layer_of_its_own_network():
    model = model_of("deep")
    features = features_of(model)
    out = model(features)
    for name, head in model.unimodal_heads.items():
        torch.testing.assert_close(out.per_modality[name], head(out.alone[name]))
        assert not torch.allclose(out.per_modality[name], head(model.embed(name, *features[name])))
    cross_entropy(out.per_modality[AUDIO.feature], torch.arange(BATCH) % 3).backward()
    for layer in model.fusion.own:
        largest = [part[0].weight.grad.abs().max().item() for part in layer]
        assert largest[0] > 0 and largest[1:] == [0, 0]  # audio comes first


def test_attention_is_what_torch_computes():
    block = model_of("transformer").fusion.blocks[0]
    x_BLD = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(0))
    mask_BL = torch.tensor([[True] * 6, [True] + [False] * 5, [True] * 3 + [False] * 3, [True, False] * 3])
    q, k, v = block.query_key_value(x_BLD).unflatten(2, (3, block.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    expected = scaled_dot_product_attention(q, k, v, attn_mask=mask_BL[:, None, None, :])
    mixed_BLD, attention_BL = block.attend(x_BLD, mask_BL)
    torch.testing.assert_close(mixed_BLD, block.out(expected.transpose(1, 2).flatten(2)), rtol=1e-5, atol=1e-6)
    assert attention_BL[1].tolist() == [1.0, 0, 0, 0, 0, 0]
