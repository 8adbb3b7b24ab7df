"""The part of a network that puts two sides into one space."""

from __future__ import annotations

import pytest
import torch

from mmpipe.config import EncoderConfig, Goal
from mmpipe.config.retrieving import sides_of
from mmpipe.errors import ConfigError
from mmpipe.fusion.check import check_network
from mmpipe.fusion.files import load_model, save_model
from mmpipe.fusion.goals.retrieve import matched_of
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.registry import fusion_class, fusion_names
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

AUDIO = InputSpec(feature="audio-logmel@1", kind=FeatureKind.SEQUENCE, dim=6)
TEXT = InputSpec(feature="text-ngrams@1", kind=FeatureKind.VECTOR, dim=9)
VIDEO = InputSpec(feature="video-hogdct@1", kind=FeatureKind.SEQUENCE, dim=5)
QUERY = ("audio-logmel", "video-hogdct")
NAMES = [name for name in fusion_names() if not name.startswith("test_") and name != "unimodal"]
JOINING = [name for name in NAMES if not fusion_class(name).decides]
BATCH, DIM = 8, 5


def spec_of(fusion: str = "concat", inputs=(AUDIO, TEXT, VIDEO), query=QUERY, **options) -> ModelSpec:
    return ModelSpec(
        fusion=fusion,
        inputs=inputs,
        classes=(),
        goal=Goal.RETRIEVE,
        goal_options={"query": list(query), "dim": DIM, **options},
        encoder=EncoderConfig(segments=3, components=8, width=8),
    )


def model_of(spec: ModelSpec) -> FusionModel:
    torch.manual_seed(3)
    return FusionModel(spec).eval()


def features_of(spec: ModelSpec, seed: int = 0) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    frames = {entry.feature: 7 if entry.kind is FeatureKind.SEQUENCE else 1 for entry in spec.inputs}
    return {
        entry.feature: (
            torch.randn(BATCH, frames[entry.feature], entry.dim, generator=generator),
            torch.ones(BATCH, frames[entry.feature], dtype=torch.bool),
        )
        for entry in spec.inputs
    }


@pytest.mark.parametrize("fusion", ["unimodal", *JOINING])
def test_both_sides_are_unit_vectors_and_every_parameter_learns(fusion: str) -> None:
    spec = spec_of(fusion, (AUDIO, TEXT) if fusion == "unimodal" else (AUDIO, TEXT, VIDEO))
    check_network(spec)
    model = model_of(spec).train()
    out = model(features_of(spec))
    matched = matched_of(out)
    for side_BD in (matched.query_BD, matched.item_BD, *matched.views.values()):
        torch.testing.assert_close(side_BD.norm(dim=1), torch.ones(BATCH))
    assert model.answers(out).shape == (BATCH, 2, DIM)
    (matched.scale * (matched.query_BD @ matched.item_BD.T)).logsumexp(1).sum().backward(retain_graph=True)
    sum((view_BD[:, 0] * torch.arange(BATCH)).sum() for view_BD in matched.views.values()).backward()
    weighing = {f"fusion.{name}" for name in model.fusion.mixing}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and (parameter.grad.abs().max() > 0 or name in weighing), name


@pytest.mark.parametrize("fusion", JOINING)
def test_a_side_never_sees_the_other(fusion: str) -> None:
    spec = spec_of(fusion)
    model, features = model_of(spec), features_of(spec)
    before = matched_of(model(features))
    features[TEXT.feature] = features_of(spec, seed=1)[TEXT.feature]
    after = matched_of(model(features))
    assert torch.equal(before.query_BD, after.query_BD) and not torch.equal(before.item_BD, after.item_BD)
    features[VIDEO.feature] = features_of(spec, seed=2)[VIDEO.feature]
    last = matched_of(model(features))
    assert torch.equal(after.item_BD, last.item_BD) and not torch.equal(after.query_BD, last.query_BD)


def test_what_is_masked_is_absent_and_an_absent_side_is_nothing() -> None:
    spec = spec_of()
    model, features = model_of(spec), features_of(spec)
    lame = {**features, AUDIO.feature: (features[AUDIO.feature][0], torch.zeros(BATCH, 7, dtype=torch.bool))}
    masked, missing = (
        matched_of(model(part)) for part in (lame, {k: v for k, v in features.items() if k != AUDIO.feature})
    )
    assert torch.equal(masked.query_BD, missing.query_BD) and torch.equal(masked.item_BD, missing.item_BD)
    assert masked.has_query_B.all() and not masked.views[AUDIO.feature].any()
    mute = matched_of(model({name: features[name] for name in (AUDIO.feature, VIDEO.feature)}))
    assert not mute.item_BD.any() and not mute.has_item_B.any() and mute.query_BD.norm(dim=1).min() > 0.99


def test_one_modality_alone_is_embedded_into_the_shared_space() -> None:
    spec = spec_of()
    model, features = model_of(spec), features_of(spec)
    views = matched_of(model(features)).views
    for name in spec.features:
        torch.testing.assert_close(model.embed(name, *features[name]), views[name])
    torch.testing.assert_close(views[TEXT.feature], matched_of(model(features)).item_BD)


def test_a_saved_network_says_the_same(tmp_path) -> None:
    spec = spec_of("transformer", anchor="text-ngrams")
    model, features = model_of(spec), features_of(spec)
    save_model(model, tmp_path / "it")
    again = load_model(tmp_path / "it")
    assert again.spec == spec
    assert torch.equal(again.answers(again(features)), model.answers(model(features)))


def test_either_side_may_be_the_fused_one() -> None:
    assert sides_of(["a@1", "t@1", "v@1"], ["t"]).fused == ("a@1", "v@1")
    assert sides_of(["a@1", "t@1", "v@1"], ["a", "v"]).whole == ("t@1",)
    assert sides_of(["a@1", "t@1"], []).query == ("a@1",)
    spec = spec_of(query=("text-ngrams",))
    swapped, plain = (matched_of(model_of(one)(features_of(spec))) for one in (spec, spec_of()))
    assert torch.equal(swapped.query_BD, plain.item_BD) and torch.equal(swapped.item_BD, plain.query_BD)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (lambda: spec_of(inputs=(AUDIO,)), "needs inputs on both sides"),
        (lambda: spec_of(query=("smell",)), "needs inputs on both sides"),
        (lambda: spec_of(inputs=(AUDIO, TEXT)), "needs at least two inputs"),
        (lambda: spec_of("unimodal"), "reads exactly one input"),
        (lambda: spec_of("late_weighted"), "mixes the decisions"),
    ],
)
def test_what_makes_no_two_sides_is_refused(spec, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        model_of(spec())


def test_two_fused_sides_are_refused() -> None:
    image = InputSpec(feature="image-hog@1", kind=FeatureKind.VECTOR, dim=4)
    with pytest.raises(ConfigError, match="fuses one side"):
        model_of(spec_of(inputs=(AUDIO, TEXT, VIDEO, image)))
