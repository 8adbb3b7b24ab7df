"""From a batch to texts: what is missing or padded, which fusions, and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmpipe.config import EncoderConfig, Goal
from mmpipe.errors import ConfigError
from mmpipe.fusion.files import load_model, save_model
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.registry import fusion_class, fusion_names
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

INPUTS = (
    InputSpec(feature="audio-toy@1", kind=FeatureKind.SEQUENCE, dim=6),
    InputSpec(feature="video-toy@1", kind=FeatureKind.SEQUENCE, dim=5),
)
WORDS = ("<end>", "at", "bin", "blue", "now")
UNDECIDED = [name for name in fusion_names() if not fusion_class(name).decides and name != "unimodal"]


def make_model(fusion: str = "transformer", seed: int = 0, **options: object) -> FusionModel:
    torch.manual_seed(seed)
    spec = ModelSpec(
        fusion=fusion,
        inputs=INPUTS[:1] if fusion == "unimodal" else INPUTS,
        classes=WORDS,
        goal=Goal.GENERATE,
        goal_options={"max_tokens": 4, "layers": 2, **options},
        encoder=EncoderConfig(steps=6, components=0, width=16),
    )
    return FusionModel(spec).eval()


def make_batch(clips: int = 5, frames: int = 6) -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    batch = {}
    for entry in INPUTS:
        real_B1 = torch.randint(2, frames + 1, (clips, 1), generator=generator)
        x_BTD = torch.randn(clips, frames, entry.dim, generator=generator)
        batch[entry.feature] = (x_BTD, torch.arange(frames) < real_B1)
    return batch


def run(model: FusionModel, batch: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the scores of a known text, and what is written."""
    with torch.no_grad():
        out = model(batch)
        ids_BT = torch.tensor([[2, 3, 0, -1]]).expand(len(out.z_BD), -1)
        return model.goal.logits(out, ids_BT), model.answers(out)


@pytest.mark.parametrize("fusion", ["unimodal", *UNDECIDED])
def test_every_fusion_that_leaves_the_decision_can_write(fusion: str) -> None:
    model = make_model(fusion)
    batch = make_batch()
    batch[INPUTS[0].feature][1][0] = False  # nothing of the first clip where there is one input
    logits_BTK, written_BT = run(model, batch)
    assert logits_BTK.shape == (5, 4, len(WORDS))
    assert torch.isfinite(logits_BTK).all()
    assert written_BT.shape == (5, 4) and written_BT.dtype == torch.int64
    assert not len(model.unimodal_heads) and model.head is None


@pytest.mark.parametrize("fusion", sorted(set(fusion_names()) - {*UNDECIDED, "unimodal"}))
def test_a_fusion_that_decides_on_classes_is_refused(fusion: str) -> None:
    with pytest.raises(ConfigError, match="generate"):
        make_model(fusion)


@pytest.mark.parametrize("fusion", ["transformer", "concat", "early_weighted", "perceiver"])
def test_padding_changes_nothing(fusion: str) -> None:
    model, batch = make_model(fusion), make_batch()
    logits_BTK, written_BT = run(model, batch)
    noisy = {name: (torch.where(mask[:, :, None], x, 99.0), mask) for name, (x, mask) in batch.items()}
    assert torch.equal(run(model, noisy)[0], logits_BTK)
    longer = {
        name: (torch.nn.functional.pad(x, (0, 0, 0, 3), value=7.0), torch.nn.functional.pad(mask, (0, 3)))
        for name, (x, mask) in batch.items()
    }
    after_BTK, after_BT = run(model, longer)
    assert torch.allclose(after_BTK, logits_BTK, atol=1e-5)
    assert torch.equal(after_BT, written_BT)


@pytest.mark.parametrize("fusion", ["transformer", "concat", "early_weighted"])
@pytest.mark.parametrize("missing", [entry.feature for entry in INPUTS])
def test_a_masked_modality_is_as_an_absent_one(fusion: str, missing: str) -> None:
    model, batch = make_model(fusion), make_batch()
    x_BTD, mask_BT = batch[missing]
    masked = run(model, {**batch, missing: (x_BTD, torch.zeros_like(mask_BT))})
    absent = run(model, {name: value for name, value in batch.items() if name != missing})
    assert torch.equal(masked[0], absent[0])
    assert torch.equal(masked[1], absent[1])
    assert not torch.allclose(masked[0], run(model, batch)[0], atol=1e-3)


def test_a_clip_is_written_about_alone_as_in_a_batch() -> None:
    model, batch = make_model(beam=3), make_batch()
    whole = run(model, batch)
    for clip in range(5):
        one = run(model, {name: (x[clip : clip + 1], mask[clip : clip + 1]) for name, (x, mask) in batch.items()})
        assert torch.allclose(one[0][0], whole[0][clip], atol=1e-5)
        assert torch.equal(one[1][0], whole[1][clip])


def test_a_saved_network_writes_the_same(tmp_path: Path) -> None:
    model, batch = make_model(beam=2), make_batch()
    save_model(model, tmp_path)
    back = load_model(tmp_path)
    assert back.spec == model.spec
    for before, after in zip(run(model, batch), run(back, batch), strict=True):
        assert torch.equal(before, after)


def test_no_text_is_longer_than_it_may_be() -> None:
    with pytest.raises(ConfigError, match=r"needs goal_options\.max_tokens"):
        make_model(max_tokens=0)
    assert run(make_model(max_tokens=2), make_batch())[1].shape == (5, 2)


def test_a_network_without_a_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="a vocabulary is one of"):
        FusionModel(replace(make_model().spec, classes=("a", "b")))
