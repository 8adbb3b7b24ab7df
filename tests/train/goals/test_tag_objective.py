"""What training minimises for tags: every word counts the same, whatever sentence it stands in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmpipe.config import EncoderConfig, EncoderKind, Goal, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.export import export_model
from mmpipe.train.goals.tag import TagObjective
from mmpipe.train.loop import train_network
from mmpipe.train.totals import StepTotals
from mmpipe.train.weights import infer
from mmpipe.types import Batch, FeatureKind, ModalityBatch

WORDS = InputSpec(feature="text-toy@1", kind=FeatureKind.SEQUENCE, dim=7)
TAGS = ("B-PER", "I-PER", "O")
MOST = 6
TARGET = torch.tensor([[0, 1, 2, 2, 2, 2], [2, 2, -1, -1, -1, -1]])


class Sentences:
    """Words of seven kinds: kind 0 begins a name, kind 1 goes on with one, and after kind 2 it is none."""

    def __init__(self, num_clips: int = 120, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.lengths_N = rng.integers(2, MOST + 1, num_clips)
        self.kinds_NT = rng.integers(0, 7, (num_clips, MOST))
        self.tags_NT = np.full((num_clips, MOST), -1, np.int64)
        for n, length in enumerate(self.lengths_N):
            before = 2
            for t in range(length):
                kind = self.kinds_NT[n, t]
                before = 0 if kind == 0 else 1 if kind == 1 and before < 2 else 2
                self.tags_NT[n, t] = before

    def gather(self, rows: np.ndarray) -> Batch:
        mask_BT = np.arange(MOST) < self.lengths_N[rows][:, None]
        x_BTD = np.eye(7, dtype=np.float32)[self.kinds_NT[rows]] * mask_BT[:, :, None]
        return Batch(
            keys=tuple(f"clip{row:03d}" for row in rows),
            features={WORDS.feature: ModalityBatch(x_BTD=x_BTD, mask_BT=mask_BT)},
            labels_B=np.full(len(rows), -1),
        )


def spec_of(**options) -> ModelSpec:
    encoder = EncoderConfig(width=16, components=0, steps=MOST, kind=EncoderKind.GRU, bidirectional=True)
    return ModelSpec(
        fusion="unimodal",
        inputs=(WORDS,),
        classes=TAGS,
        goal=Goal.TAG,
        goal_options={"max_words": MOST, **options},
        encoder=encoder,
    )


def objective(spec: ModelSpec, **changes) -> TagObjective:
    return TagObjective(spec, TrainConfig(**changes), TARGET.numpy(), torch.device("cpu"))


@pytest.mark.parametrize("crf", [False, True])
def test_the_loss_is_per_word_and_validation_counts_every_clip_the_same(crf: bool) -> None:
    torch.manual_seed(0)
    model = FusionModel(spec_of(crf=crf)).eval()
    batch = Sentences(2).gather(np.arange(2))
    x = batch.features[WORDS.feature]
    features = {WORDS.feature: (torch.from_numpy(x.x_BTD), torch.ones(2, MOST, dtype=torch.bool))}
    prepared = model.prepare(features)
    out, made = model.forward_prepared(prepared), objective(model.spec)
    losses_B = made.clip_losses(model, out, TARGET)
    totals = StepTotals.of(2, prepared, made.weights_B(TARGET))
    loss, _ = made.training_loss(model, out, TARGET, prepared, totals)
    torch.testing.assert_close(loss, losses_B.sum() / 8)
    torch.testing.assert_close(made.plain_losses(model, out, TARGET), losses_B / torch.tensor([6, 2]))
    short = made.clip_losses(model, out, TARGET[:, :2].clone())
    torch.testing.assert_close(short[1], losses_B[1]), "fewer places than the network has are no fault"
    said = model.answers(out)
    right = [(said[0] == TARGET[0]).double().mean(), (said[1, :2] == TARGET[1, :2]).double().mean()]
    assert made.scores(model, out, TARGET).tolist() == pytest.approx([float(one) for one in right])


@pytest.mark.parametrize("crf", [False, True])
def test_a_network_learns_tags_that_depend_on_their_neighbours(crf: bool) -> None:
    source, rows = Sentences(), np.arange(120)
    config = TrainConfig(epochs=40, batch_clips=16, learning_rate=1e-2, dropout=0.0)
    trained = train_network(spec_of(crf=crf), source, source.tags_NT, rows[:90], rows[90:], config, seed=0)
    said_NT = infer(trained.model, source, rows[90:]).answers_N
    assert said_NT.dtype == np.int64
    np.testing.assert_array_equal(said_NT >= 0, source.tags_NT[90:] >= 0)
    assert (said_NT == source.tags_NT[90:])[said_NT >= 0].mean() > 0.97
    assert trained.history[-1].measure == "word accuracy"


@pytest.mark.parametrize(
    "targets",
    [[[0, 3, -1]], [[-1, 0, 0]], [[0, -1, 0]], [[0] * 7], [0, 1]],
    ids=["strange", "none", "gap", "long", "flat"],
)
def test_targets_that_are_none_are_refused(targets) -> None:
    TagObjective.check_targets(spec_of(), TARGET.numpy())
    with pytest.raises(ConfigError, match=r"targets must be|have no tags, a gap"):
        TagObjective.check_targets(spec_of(), np.array(targets))


def test_smoothing_is_of_single_words_and_nothing_is_mixed() -> None:
    objective(spec_of(), label_smoothing=0.1)
    with pytest.raises(ConfigError, match="label_smoothing"):
        objective(spec_of(crf=True), label_smoothing=0.1)
    with pytest.raises(ConfigError, match="mixup_alpha"):
        objective(spec_of()).mixable(TARGET)


def test_a_graph_without_mmpipe_says_the_same_tags(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FusionModel(spec_of(crf=True))
    for parameter in model.goal.parameters():
        torch.nn.init.normal_(parameter)
    assert export_model(model, tmp_path).max_difference < 1e-5
