"""What training minimises where clips are to find each other, in one process and in two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import start_processes
from toy_clips import AUDIO, ENCODER, IMAGE, NOISE, ToySource

from mmpipe.config import Goal, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.measures.retrieval import first_ranks, judge_pairs
from mmpipe.fusion.goals.retrieve import matched_of
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.data import fit_preprocess, prepare_data
from mmpipe.train.goals.retrieve import RetrieveObjective, pairs_of, reciprocal_ranks
from mmpipe.train.loop import Trained, train_network
from mmpipe.train.objectives.contrastive import info_nce
from mmpipe.train.ranks import ALONE, Ranks
from mmpipe.train.step import GradientMaker
from mmpipe.train.totals import StepTotals

CONFIG = TrainConfig(epochs=3, batch_clips=9, accumulate_steps=2, dropout=0.0, optimizer="sgd", clip_norm=1e9)
CPU = torch.device("cpu")
# What is trained: 41 clips in a step of five batches, the last of five clips; or of two, the last of one clip.
CASES: dict[str, tuple[str, dict, dict]] = {
    "plain": ("concat", {"accumulate_steps": 5}, {}),
    "lone_clip": ("transformer", {"batch_clips": 40}, {}),
    "lone_clip_gru": ("hierarchical", {"batch_clips": 40}, {"kind": "gru", "steps": 4}),
    "lone_clip_cnn": ("gmu", {"batch_clips": 40}, {"kind": "cnn", "steps": 4}),
}


def spec_of(fusion: str = "concat", inputs=(AUDIO, IMAGE, NOISE), encoder=ENCODER, **options) -> ModelSpec:
    options = {"query": ["audio-toy", "noise-toy"], "dim": 12, **options}
    goal = {"goal": Goal.RETRIEVE, "goal_options": options}
    return ModelSpec(fusion=fusion, inputs=inputs, classes=(), encoder=encoder, **goal)


def targets_of(source: ToySource) -> np.ndarray:
    """Ids of equal pairs: the clips of a class come in groups of up to three."""
    return (source.labels_N * 100 + np.arange(len(source.labels_N)) // 3).astype(np.int64)


def gradient_of(case: str, ranks: Ranks) -> tuple[float, float, dict[str, torch.Tensor]]:
    fusion, changes, encoder = CASES[case]
    source, rows = ToySource(), np.arange(90)
    torch.manual_seed(0)
    model = FusionModel(spec_of(fusion, encoder=ENCODER.model_copy(update=encoder)))
    fit_preprocess(model, source, rows)
    config = TrainConfig(**{**CONFIG.model_dump(), **changes})
    targets = torch.from_numpy(targets_of(source))
    objective = RetrieveObjective(model.spec, config, targets.numpy(), CPU)
    made = GradientMaker(model, prepare_data(model, source, rows), targets, objective, config, 0, ranks, CPU)
    result = made.make(np.arange(10, 51), epoch=1, step=0)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return result.loss, result.norm, gradients


class Twins(ToySource):
    """Every clip's image is a linear picture of its own sound."""

    def __init__(self, num_clips: int = 300) -> None:
        super().__init__(num_clips)
        means_ND = np.stack([frames_TD.mean(axis=0) for frames_TD in self.audio])
        picture_DE = np.random.default_rng(1).normal(size=(means_ND.shape[1], self.image.shape[1]))
        self.image = (means_ND @ picture_DE).astype(np.float32)


def train_case(ranks: Ranks, **changes) -> Trained:
    source, config = ToySource(), TrainConfig(**{**CONFIG.model_dump(), **changes})
    rows = np.arange(55), np.arange(60, 90)
    return train_network(spec_of(), source, targets_of(source), *rows, config, seed=3, ranks=ranks)


def one_process(rank: int, store: str, out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    ranks = Ranks(rank=rank, size=2)
    found: dict = {case: gradient_of(case, ranks) for case in CASES}
    trained = train_case(ranks)
    found["losses"] = [[record.train_loss, record.val_loss, record.val_score] for record in trained.history]
    found["weights"] = trained.model.state_dict()
    torch.save(found, Path(out) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("two")
    start_processes(one_process, (str(folder / "store"), str(folder)), nprocs=2, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_make_the_step_of_one_with_the_big_batch(two, case) -> None:
    loss, norm, gradients = gradient_of(case, ALONE)
    for found in two:
        assert found[case][:2] == pytest.approx((loss, norm), rel=1e-5)
        assert found[case][2].keys() == gradients.keys() and len(gradients) > 10
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[case][2][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.slow
def test_a_whole_run_of_two_processes_is_that_of_one(two) -> None:
    trained = train_case(ALONE)
    expected = [[record.train_loss, record.val_loss, record.val_score] for record in trained.history]
    for found in two:
        np.testing.assert_allclose(found["losses"], expected, rtol=1e-5)
        for name, value in trained.model.state_dict().items():
            torch.testing.assert_close(found["weights"][name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("options", "pairs"),
    [
        ({}, [("audio-toy@1", "image-toy@1"), ("audio-toy@1", "noise-toy@1"), ("image-toy@1", "noise-toy@1")]),
        ({"anchor": "image-toy"}, [("audio-toy@1", "image-toy@1"), ("image-toy@1", "noise-toy@1")]),
    ],
)
def test_the_loss_is_that_of_the_sides_and_a_share_of_that_of_the_pairs(options, pairs) -> None:
    source, rows = ToySource(), np.arange(1, 25)  # without audio: 10, 20; without the image: 11, 22
    model = FusionModel(spec_of(**options))
    fit_preprocess(model, source, rows)
    prepared, target = prepare_data(model, source, rows).take(np.arange(24)), torch.from_numpy(targets_of(source)[rows])
    config = TrainConfig(unimodal_weight=0.3)
    objective = RetrieveObjective(model.spec, config, target.numpy(), CPU)
    assert list(objective.pairs) == pairs
    out = model.eval().forward_prepared(prepared)
    matched = matched_of(out)
    loss, clip_losses_B = objective.training_loss(model, out, target, prepared, StepTotals.of(24, prepared))
    sides_B = info_nce(matched.query_BD, matched.item_BD, matched.scale, groups_B=target, present_B=matched.has_item_B)
    torch.testing.assert_close(clip_losses_B, sides_B.detach())
    assert clip_losses_B[10] == 0 and clip_losses_B[9] > 0  # no image to find; no audio to ask by, but the noise
    expected = sides_B.mean()
    for one, other in pairs:
        present_B = matched.present[one] & matched.present[other]
        views = matched.views[one], matched.views[other]
        losses_B = info_nce(*views, matched.scale, groups_B=target, present_B=present_B)
        expected = expected + 0.3 * losses_B.mean() / len(pairs)
    torch.testing.assert_close(loss, expected)


def test_two_single_sides_have_no_more_pairs() -> None:
    assert pairs_of(spec_of("unimodal", (AUDIO, IMAGE), query=["audio-toy"])) == ()


def test_a_score_is_the_reciprocal_rank_with_ties_against_it() -> None:
    generator = torch.Generator().manual_seed(0)
    similarity_NN = torch.randn(20, 20, generator=generator, dtype=torch.float64).round(decimals=1)
    target_N = torch.arange(20) // 2
    found_N = reciprocal_ranks(similarity_NN, target_N[:, None] == target_N[None])
    judged = judge_pairs([str(number) for number in target_N.tolist()])
    np.testing.assert_allclose(found_N, 1 / first_ranks(similarity_NN.numpy(), judged))
    assert len(np.unique(similarity_NN)) < similarity_NN.numel() / 2  # there were ties


def test_training_finds_what_two_modalities_share() -> None:
    changes = {"epochs": 25, "optimizer": "adamw", "learning_rate": 0.01, "accumulate_steps": 1, "batch_clips": 32}
    config, rows = TrainConfig(**{**CONFIG.model_dump(), **changes}), np.arange(300)
    trained = train_network(spec_of(), Twins(), rows, rows[:240], rows[240:], config, seed=3)
    best = max(record.val_score for record in trained.history)
    assert trained.history[0].measure == "mean reciprocal rank"
    assert best > 0.5  # by chance 0.08 among 60 clips; a tenth of them has no sound, an eleventh no image
    assert 1 <= trained.model.goal.temperature().item() <= 100
    shuffled = np.random.default_rng(0).permutation(300)
    torn = Twins()
    torn.image = torn.image[shuffled]
    control = train_network(spec_of(), torn, rows, rows[:240], rows[240:], config, seed=3)
    assert control.history[control.best_epoch - 1].val_score < 0.2  # what was paired by chance is not found


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label_smoothing": 0.1}, "label_smoothing"),
        ({"batch_clips": 1}, "batch_clips"),
        ({"unimodal_weight": 0.0}, "unimodal_weight"),
    ],
)
def test_what_says_nothing_here_is_refused(changes, told) -> None:
    with pytest.raises(ConfigError, match=told):
        train_case(ALONE, **changes)
    with pytest.raises(ConfigError, match="ids of pairs"):
        RetrieveObjective.check_targets(spec_of(), np.zeros(3))
