from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mmpipe.batches.order import batches_of, epoch_order


def test_every_clip_once() -> None:
    assert sorted(epoch_order(1000, seed=3, epoch=0).tolist()) == list(range(1000))


def test_pure_function_of_seed_and_epoch() -> None:
    order = epoch_order(1000, seed=3, epoch=5)
    assert np.array_equal(order, epoch_order(1000, seed=3, epoch=5))
    assert not np.array_equal(order, epoch_order(1000, seed=3, epoch=6))
    assert not np.array_equal(order, epoch_order(1000, seed=4, epoch=5))
    assert not np.array_equal(epoch_order(1000, seed=1, epoch=2), epoch_order(1000, seed=2, epoch=1))


def test_order_never_changes_between_versions() -> None:
    """A resumed run must see the order that the run before it saw, whatever numpy is installed."""
    digest = hashlib.sha256(epoch_order(1000, seed=3, epoch=5).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "909d763c20cfdc0c"


def test_batches_cover_the_order_and_can_be_skipped_into() -> None:
    order = epoch_order(10, seed=0, epoch=0)
    batches = batches_of(order, 4)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert np.array_equal(np.concatenate(batches), order)
    assert np.array_equal(batches_of(order, 4)[2], order[8:])


def test_odd_sizes() -> None:
    assert batches_of(epoch_order(0, seed=0, epoch=0), 4) == ()
    with pytest.raises(ValueError, match="batch_clips must be >= 1, got 0"):
        batches_of(np.arange(3), 0)
