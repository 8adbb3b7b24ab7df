from __future__ import annotations

import numpy as np
import pytest
import torch
from test_loop import digest, having, train
from toy_clips import ToySource, spec_of

from mmpipe.errors import MmpipeError
from mmpipe.fusion.model import FusionModel
from mmpipe.train.data import fit_preprocess, prepare_data
from mmpipe.train.goals.classify import ClassifyObjective
from mmpipe.train.ranks import ALONE
from mmpipe.train.run import Run
from mmpipe.train.step import GradientMaker

ROWS = np.arange(90)
STILL = having(dropout=0.0, patience_epochs=50)  # the network's own dropout depends on how it is called


def maker(fusion: str, config) -> GradientMaker:
    source = ToySource()
    torch.manual_seed(0)
    model = FusionModel(spec_of(fusion, dropout=0.0, modality_dropout=config.modality_dropout))
    fit_preprocess(model, source, ROWS)
    labels = torch.from_numpy(source.labels_N)
    data = prepare_data(model, source, ROWS)
    objective = ClassifyObjective(model.spec, config, source.labels_N, torch.device("cpu"))
    return GradientMaker(model, data, labels, objective, config, 0, ALONE, torch.device("cpu"))


def gradients(fusion: str, config) -> tuple[float, float, dict[str, torch.Tensor]]:
    made = maker(fusion, config)
    torch.manual_seed(5)
    result = made.make(np.arange(10, 51), epoch=1, step=0)
    return result.loss, result.norm, {name: p.grad for name, p in made.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("fusion", ["late_weighted", "transformer", "concat"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"class_balance": "weights", "label_smoothing": 0.1},
        {"mixup_alpha": 0.4, "modality_dropout": 0.3, "class_balance": "weights"},
        {"balance_alpha": 1.0, "balance_noise": False},
    ],
)
def test_accumulated_batches_have_the_gradient_of_the_big_one(fusion, changes):
    """41 clips in batches of 7, some without a modality: every mean is over the whole step."""
    changes = {"clip_norm": 1e9, **changes}
    loss, norm, big = gradients(fusion, having(STILL, batch_clips=41, **changes))
    small_loss, small_norm, small = gradients(fusion, having(STILL, batch_clips=7, accumulate_steps=6, **changes))
    assert small_loss == pytest.approx(loss, rel=1e-5)
    assert small_norm == pytest.approx(norm, rel=1e-4)
    assert small.keys() == big.keys() and len(big) > 4
    for name in big:
        torch.testing.assert_close(small[name], big[name], rtol=1e-4, atol=1e-6)


def test_a_run_of_accumulated_batches_is_that_of_big_ones():
    config = having(STILL, optimizer="sgd", epochs=3, batch_clips=24)
    big = train(config=config)
    small = train(config=having(config, batch_clips=6, accumulate_steps=4))
    for one, other in zip(big.history, small.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-5)
    for one, other in zip(big.model.parameters(), small.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_adam_adds_its_decay_to_the_gradient_and_adamw_does_not():
    config = having(STILL, epochs=2, weight_decay=0.5)
    networks = {name: digest(train(config=having(config, optimizer=name))) for name in ("adam", "adamw", "sgd")}
    assert len(set(networks.values())) == 3
    free = having(config, weight_decay=0.0)
    assert digest(train(config=having(free, optimizer="adam"))) == digest(train(config=having(free, optimizer="adamw")))


class Poisoned:
    """Preprocessed data of which one clip is infinite the first `times` times that it is taken."""

    def __init__(self, data, position: int, times: int) -> None:
        self._data, self._position, self._left = data, position, times

    def take(self, positions):
        prepared = self._data.take(positions)
        if self._left and self._position in positions.tolist():
            self._left -= 1
            at = positions.tolist().index(self._position)
            for part in prepared.values():
                part.x_BSK[at] = torch.inf
        return prepared

    def keys(self, positions):
        return self._data.keys(positions)


def poisoned_run(times: int, **changes) -> Run:
    """Preprocessing clamps what a source gives: what is infinite is put in behind it."""
    made = maker("concat", having(STILL, epochs=4, **changes))
    data = Poisoned(made.data, 7, times)
    return Run(made.model, data, made.targets_P.numpy(), len(ROWS), made.config, 0, ALONE, torch.device("cpu"))


def finish(run: Run) -> Run:
    while not run.finished:
        run.train_epoch(lambda: None)
    return run


def test_a_step_that_is_not_finite_is_skipped_counted_and_its_clip_named():
    run = finish(poisoned_run(2, max_bad_steps=2, batch_clips=16))
    assert [record.skipped_steps for record in run.history] == [1, 1, 0, 0]
    assert [record.skipped_clips for record in run.history] == [("clip007",), ("clip007",), (), ()]
    assert all(torch.isfinite(parameter).all() for parameter in run.model.parameters())
    assert all(np.isfinite(record.train_loss) and record.gradient_norm > 0 for record in run.history)


@pytest.mark.parametrize("allowed", [0, 2])
def test_one_bad_step_too_many_ends_the_run(allowed):
    said = rf"not finite in epoch {allowed + 1} .* on 1 clip\(s\), among them \['clip007'\]"
    with pytest.raises(MmpipeError, match=said):
        finish(poisoned_run(99, max_bad_steps=allowed, batch_clips=16))


def test_an_epoch_without_a_good_step_ends_the_run():
    with pytest.raises(MmpipeError, match="not finite in epoch 1"):
        finish(poisoned_run(99, max_bad_steps=10, batch_clips=90))
