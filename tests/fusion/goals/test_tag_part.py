"""A tag per word: where the words come from, what speaks for a tag, and what is said where there are no words."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmpipe.config import EncoderConfig, EncoderKind, Goal
from mmpipe.errors import ConfigError
from mmpipe.fusion.goals.tag import Tag, word_scores
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

WORDS = InputSpec(feature="text-words@1", kind=FeatureKind.SEQUENCE, dim=6)
PICTURE = InputSpec(feature="image-hogdct@1", kind=FeatureKind.VECTOR, dim=4)
TAGS = ("B-PER", "I-PER", "O")
MOST = 5


def spec_of(fusion: str = "concat", inputs=(WORDS, PICTURE), steps: int = 8, **options) -> ModelSpec:
    encoder = EncoderConfig(width=8, components=0, steps=steps, kind=EncoderKind.GRU)
    return ModelSpec(
        fusion=fusion,
        inputs=inputs,
        classes=TAGS,
        goal=Goal.TAG,
        goal_options={"max_words": MOST, **options},
        encoder=EncoderConfig(width=8),
        encoders={WORDS.feature: encoder} if WORDS in inputs else {},
    )


def features(lengths=(5, 2, 3), without: tuple[str, ...] = ()) -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    mask_BT = torch.arange(7) < torch.tensor(lengths)[:, None]
    made = {
        WORDS.feature: (torch.randn(len(lengths), 7, 6, generator=generator), mask_BT),
        PICTURE.feature: (torch.randn(len(lengths), 1, 4, generator=generator), torch.ones(len(lengths), 1).bool()),
    }
    return {name: (x, mask & (name not in without)) for name, (x, mask) in made.items()}


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("fusion", ["concat", "transformer", "early_weighted", "hierarchical"])
def test_every_word_has_a_tag_and_nothing_behind_the_end_has_one(fusion: str, crf: bool) -> None:
    torch.manual_seed(0)
    model = FusionModel(spec_of(fusion, crf=crf)).eval()
    out = model(features())
    tags_BT = model.answers(out)
    assert tags_BT.shape == (3, MOST) and (tags_BT >= 0).sum(1).tolist() == [5, 2, 3]
    assert word_scores(out).scores_BTK.shape == (3, MOST, 3)
    assert model.unimodal_heads.keys() == set() and model.head is None


def test_both_the_word_and_the_picture_speak() -> None:
    torch.manual_seed(0)
    model = FusionModel(spec_of()).eval()
    before = word_scores(model(features())).scores_BTK
    other = features()
    other[PICTURE.feature] = (other[PICTURE.feature][0] + 1, other[PICTURE.feature][1])
    moved = word_scores(model(other)).scores_BTK - before
    assert moved.abs().min() > 0, "the picture speaks for every word"
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved)), "... alike"
    words = features()
    words[WORDS.feature][0][0, 1] += 3
    changed = (word_scores(model(words)).scores_BTK - before)[0].abs().sum(1)
    assert (changed > 0).all() and changed[1:].std() > 0


def test_padding_changes_no_score() -> None:
    torch.manual_seed(0)
    model = FusionModel(spec_of(crf=True)).eval()
    plain, dirty = features(), features()
    x_BTD, mask_BT = dirty[WORDS.feature]
    dirty[WORDS.feature] = (torch.where(mask_BT[:, :, None], x_BTD, 99.0), mask_BT)
    assert torch.equal(model.answers(model(plain)), model.answers(model(dirty)))
    tags_BT = torch.tensor([[0, 1, 2, 2, 2], [2, 2, -1, -1, -1], [0, 1, 1, -1, -1]])
    part = model.goal
    assert isinstance(part, Tag)
    assert torch.equal(part.losses(model(plain), tags_BT), part.losses(model(dirty), tags_BT))


@pytest.mark.parametrize("crf", [False, True])
def test_without_words_there_are_no_tags_but_from_a_network_that_never_reads_any(crf: bool) -> None:
    torch.manual_seed(0)
    model = FusionModel(spec_of(crf=crf)).eval()
    part, out = model.goal, model(features(without=(WORDS.feature,)))
    assert isinstance(part, Tag) and (model.answers(out) == -1).all()
    tags_BT = torch.tensor([[0, 1, 2, 2, 2], [2, 2, -1, -1, -1], [0, 1, 1, -1, -1]])
    assert torch.isfinite(part.losses(out, tags_BT)).all(), "a hidden text is trained on all the same"
    alone = FusionModel(spec_of("unimodal", inputs=(PICTURE,), crf=crf)).eval()
    said_BT = alone.answers(alone(features()))
    assert said_BT.shape == (3, MOST) and (said_BT >= 0).all(), "how many words there are, nobody tells it"


def test_losses_are_those_of_torch_without_a_chain() -> None:
    torch.manual_seed(0)
    model = FusionModel(spec_of()).eval()
    out, part = model(features()), model.goal
    assert isinstance(part, Tag)
    tags_BT = torch.tensor([[0, 1, 2, 2, 2], [2, 2, -1, -1, -1], [0, 1, 1, -1, -1]])
    log_p = word_scores(out).scores_BTK.log_softmax(2)
    wanted = [
        -sum(log_p[b, t, tag] for t, tag in enumerate(tags) if tag >= 0) for b, tags in enumerate(tags_BT.tolist())
    ]
    torch.testing.assert_close(part.losses(out, tags_BT), torch.stack(wanted))


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    model = FusionModel(spec_of(crf=True))
    tags_BT = torch.tensor([[0, 1, 2, 2, 2], [2, 2, -1, -1, -1], [0, 1, 1, -1, -1]])
    model.goal.losses(model(features()), tags_BT).sum().backward()
    assert not [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()]
    assert {"goal.chain.transition_KK", "goal.of_words.weight"} <= model.state_dict().keys()


def test_words_that_would_be_averaged_are_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"steps = 4, and the longest sentence has 5 words.*encoders\.text-words\.st"):
        FusionModel(spec_of(steps=4))
    with pytest.raises(ConfigError, match="max_words must be at least 1"):
        FusionModel(spec_of(max_words=0))


def test_a_fusion_of_decisions_is_refused() -> None:
    with pytest.raises(ConfigError, match="'late_weighted' mixes the decisions of its modalities"):
        FusionModel(spec_of("late_weighted"))


def test_which_input_has_the_words_can_be_said_and_must_be_where_two_might() -> None:
    other = InputSpec(feature="text-tokens@1", kind=FeatureKind.SEQUENCE, dim=3)
    with pytest.raises(ConfigError, match=r"which of .* has a row per word\? Say goal_options\.words"):
        FusionModel(spec_of(inputs=(WORDS, other)))
    part = FusionModel(spec_of(inputs=(WORDS, other), words="text-words")).goal
    assert isinstance(part, Tag) and part.words == WORDS.feature
