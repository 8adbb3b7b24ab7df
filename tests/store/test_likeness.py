"""What is said of two versions of a feature."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.store.likeness import Likeness, compare_values

RNG = np.random.default_rng(0)
VALUES = {f"clip{n}": RNG.normal(size=8).astype(np.float32) for n in range(40)}


def changed(by: float = 0.0, scale: float = 1.0) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(1)
    return {key: (scale * x_D + by * noise.normal(size=8)).astype(np.float32) for key, x_D in VALUES.items()}


def test_the_same_values_are_equal_in_every_respect() -> None:
    found = compare_values(VALUES, changed())
    assert (found.clips, found.lost, found.gained, found.equal) == (40, 0, 0, 40)
    assert found.cosine_mean == pytest.approx(1) and found.cosine_low == pytest.approx(1)
    assert (found.mean_shift, found.neighbours_kept, found.norm_ratio, found.rows_ratio) == (0, 1, 1, 1)
    assert list(found.warnings()) == []


def test_the_further_values_move_the_less_they_agree() -> None:
    near, far = compare_values(VALUES, changed(by=0.05)), compare_values(VALUES, changed(by=3))
    assert near.equal == far.equal == 0
    assert near.cosine_mean > 0.99 > far.cosine_mean and near.cosine_low > far.cosine_low
    assert near.neighbours_kept > 0.8 > far.neighbours_kept
    assert near.cosine_low <= near.cosine_mean


def test_another_scale_keeps_directions_and_is_warned_of() -> None:
    found = compare_values(VALUES, changed(scale=3))
    assert found.norm_ratio == pytest.approx(3, rel=1e-5) and found.cosine_mean == pytest.approx(1)
    assert found.neighbours_kept == 1
    (warning,) = found.warnings()
    assert "norm" in warning


def test_another_width_is_compared_by_neighbours_alone() -> None:
    turned = {key: np.concatenate([x_D, x_D]) for key, x_D in VALUES.items()}
    found = compare_values(VALUES, turned)
    assert (found.cosine_mean, found.cosine_low, found.mean_shift) == (None, None, None)
    assert found.neighbours_kept == 1
    assert {"what": "cosine, mean", "value": "n/a"} in found.table()


def test_a_shift_is_told_in_spreads_of_the_old_values() -> None:
    shifted = {key: x_D + 1 for key, x_D in VALUES.items()}
    spread = float(np.linalg.norm(np.stack(list(VALUES.values())).astype(float).std(axis=0)))
    assert compare_values(VALUES, shifted).mean_shift == pytest.approx(8**0.5 / spread, rel=1e-5)


def test_lost_and_constant_values_are_counted_and_warned_of() -> None:
    new = changed()
    del new["clip0"], new["clip1"]
    new["clip2"] = np.zeros(8, np.float32)
    new["more"] = np.ones(8, np.float32)
    found = compare_values(VALUES, new)
    assert (found.clips, found.lost, found.gained) == (38, 2, 1)
    assert (found.constant_old, found.constant_new) == (0, 1)
    assert len(list(found.warnings())) == 2


def test_sequences_are_compared_by_their_means_and_lengths() -> None:
    old = {key: np.stack([x_D, x_D]) for key, x_D in VALUES.items()}
    new = {key: np.stack([x_D, x_D, x_D]) for key, x_D in VALUES.items()}
    found = compare_values(old, new)
    assert found.rows_ratio == 1.5 and found.cosine_low == pytest.approx(1) and found.equal == 0


@pytest.mark.parametrize("num_clips", [0, 1, 3])
def test_few_clips_say_little_and_break_nothing(num_clips: int) -> None:
    few = dict(list(VALUES.items())[:num_clips])
    found = compare_values(few, few)
    assert isinstance(found, Likeness) and found.clips == num_clips and found.neighbours_kept is None
    assert len(found.table()) == 12
