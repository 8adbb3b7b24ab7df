from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from test_loop import CONFIG, digest, having, train
from toy_clips import ToySource

from mmpipe.train.class_balance import balanced_order, class_weights
from mmpipe.train.weights import predict

LABELS_N = np.array([0] * 40 + [1] * 7 + [3] * 3)


def test_the_weights_are_those_of_scikit_learn():
    weights_K = class_weights(LABELS_N, 5)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=LABELS_N)
    np.testing.assert_allclose(weights_K[[0, 1, 3]], expected, rtol=1e-6)
    assert weights_K[[2, 4]].tolist() == [0, 0]
    assert weights_K[LABELS_N].mean() == pytest.approx(1, abs=1e-6)


def test_an_epoch_has_every_class_alike_and_no_clip_twice_before_all_have_come():
    order = balanced_order(LABELS_N, 0, 1)
    assert len(order) == 50
    assert sorted(np.bincount(LABELS_N[order], minlength=4).tolist()) == [0, 16, 17, 17]
    for label, size in ((0, 40), (1, 7), (3, 3)):
        times = np.bincount(order[LABELS_N[order] == label], minlength=50)[label == LABELS_N]
        assert len(times) == size and times.max() - times.min() <= 1


def test_the_order_depends_on_seed_and_epoch_alone():
    assert balanced_order(LABELS_N, 0, 1).tolist() == balanced_order(LABELS_N, 0, 1).tolist()
    assert balanced_order(LABELS_N, 0, 1).tolist() != balanced_order(LABELS_N, 0, 2).tolist()
    assert balanced_order(LABELS_N, 0, 1).tolist() != balanced_order(LABELS_N, 1, 1).tolist()


def test_every_clip_of_a_frequent_class_comes_up_in_some_epoch():
    seen = set(np.concatenate([balanced_order(LABELS_N, 0, epoch) for epoch in range(1, 20)]).tolist())
    assert seen == set(range(50))


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_a_rare_class_is_found_more_often(balance):
    source = ToySource(num_clips=300, seed=3)
    rare = source.labels_N == 2
    rows = np.concatenate([np.flatnonzero(~rare)[:140], np.flatnonzero(rare)[:5]])
    unseen = np.flatnonzero(rare)[20:]
    config = having(CONFIG, epochs=4)
    recalls, digests = [], []
    for change in ("none", balance):
        trained = train(
            "concat",
            source,
            having(config, class_balance=change),
            train=rows,
            val=np.array([], np.int64),
        )
        recalls.append((predict(trained.model, source, unseen).argmax(1) == 2).mean())
        digests.append(digest(trained))
    assert recalls[1] > recalls[0] + 0.2
    assert digests[0] != digests[1]
    assert torch.isfinite(torch.tensor(recalls)).all()
