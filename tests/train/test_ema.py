from __future__ import annotations

import numpy as np
import pytest
import torch
from test_loop import CONFIG, NONE, TEST, digest, having, train
from toy_clips import ToySource, spec_of

from mmpipe.fusion.model import FusionModel
from mmpipe.train.ema import WeightMean, learned
from mmpipe.train.weights import predict

MEAN = having(CONFIG, ema_decay=0.9, patience_epochs=50)


def test_the_mean_is_the_one_of_the_formula():
    model = FusionModel(spec_of("concat"))
    mean = WeightMean(model, 0.3)
    weight = model.head.weight
    expected = weight.detach().double().clone()
    for update in range(6):
        with torch.no_grad():
            weight.add_(1.0 + update)
        mean.update(model)
        decay = min(0.3, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * weight.detach().double()
    assert mean.updates == 6
    torch.testing.assert_close(mean.mean["head.weight"].double(), expected, rtol=1e-6, atol=1e-6)


def test_the_mean_is_in_the_network_only_while_it_is_applied():
    model = FusionModel(spec_of("concat"))
    mean = WeightMean(model, 0.9)
    with torch.no_grad():
        model.head.weight.add_(1.0)
    own = model.head.weight.detach().clone()
    with mean.applied(model):
        torch.testing.assert_close(model.head.weight, own - 1)
    assert torch.equal(model.head.weight, own)


def test_the_preprocessing_is_not_learnt():
    names = learned(FusionModel(spec_of("concat")))
    assert names and not [name for name in names if name.startswith("preprocess.")]


def test_what_is_judged_and_kept_is_the_mean():
    """The steps are those of a run without it; the network that comes out is not, and its figures are its own."""
    source = ToySource()
    plain, mean = train(config=having(MEAN, ema_decay=0.0)), train(config=MEAN)
    assert [record.train_loss for record in plain.history] == [record.train_loss for record in mean.history]
    assert [record.val_loss for record in plain.history] != [record.val_loss for record in mean.history]
    assert digest(plain) != digest(mean)
    assert mean.val_loss is not None
    rows = np.arange(60, 75)
    chances_N = predict(mean.model, source, rows)[np.arange(15), source.labels_N[rows]]
    assert mean.val_loss == pytest.approx(-np.log(chances_N).mean(), rel=1e-4)


def test_the_mean_learns_without_validation_clips_too():
    source = ToySource()
    config = having(MEAN, epochs=40)
    trained = train("concat", source, config, val=NONE)
    assert (predict(trained.model, source, TEST).argmax(1) == source.labels_N[TEST]).mean() > 0.7
