from __future__ import annotations

import numpy as np
import pytest

from mmpipe.train.perturbed import NoisySource, PermutedSource, deviations_of
from mmpipe.types import Batch, ModalityBatch


class Clips:
    """Clips with one sequence of 1 to 4 tokens and one vector; row n is missing its vector where n % 5 == 4."""

    def __init__(self, num_rows: int = 60) -> None:
        rng = np.random.default_rng(0)
        self.tokens = [rng.normal(3.0, (1.0, 5.0), size=(1 + n % 4, 2)).astype(np.float32) for n in range(num_rows)]

    def gather(self, rows: np.ndarray) -> Batch:
        longest = max(len(self.tokens[row]) for row in rows)
        x_BTD = np.zeros((len(rows), longest, 2), np.float32)
        mask_BT = np.zeros((len(rows), longest), bool)
        for at, row in enumerate(rows):
            x_BTD[at, : len(self.tokens[row])], mask_BT[at, : len(self.tokens[row])] = self.tokens[row], True
        vector = ModalityBatch(
            x_BTD=np.array(rows, np.float32)[:, None, None], mask_BT=np.array(rows)[:, None] % 5 != 4
        )
        features = {"sound": ModalityBatch(x_BTD=x_BTD, mask_BT=mask_BT), "picture": vector}
        return Batch(keys=tuple(map(str, rows)), features=features, labels_B=np.zeros(len(rows), np.int64))


ROWS = np.arange(60)


def test_deviations_are_those_of_the_real_tokens() -> None:
    whole = np.concatenate(Clips().tokens)
    assert deviations_of(Clips(), "sound", ROWS) == pytest.approx(whole.std(axis=0), rel=1e-5)
    assert len(deviations_of(Clips(), "smell", ROWS)) == 0


def test_noise_has_its_size_touches_real_tokens_only_and_one_feature_only() -> None:
    source, scale_D = Clips(), np.array([1.0, 5.0])
    plain, noisy = source.gather(ROWS), NoisySource(source, "sound", scale_D, 0.5, 7).gather(ROWS)
    change = noisy.features["sound"].x_BTD - plain.features["sound"].x_BTD
    mask_BT = plain.features["sound"].mask_BT
    assert not change[~mask_BT].any() and change[mask_BT].std(axis=0) == pytest.approx([0.5, 2.5], rel=0.15)
    assert np.array_equal(noisy.features["picture"].x_BTD, plain.features["picture"].x_BTD)
    assert np.array_equal(source.gather(ROWS).features["sound"].x_BTD, plain.features["sound"].x_BTD)


def test_a_clips_noise_does_not_depend_on_who_is_asked_with_it() -> None:
    noisy = NoisySource(Clips(), "sound", np.ones(2), 1.0, 7)
    alone = noisy.gather(np.array([6])).features["sound"]
    among = noisy.gather(np.array([3, 6, 1])).features["sound"]
    assert np.array_equal(alone.x_BTD[0][alone.mask_BT[0]], among.x_BTD[1][among.mask_BT[1]])


def test_permuting_keeps_the_marginals_and_moves_every_clip() -> None:
    mixed = PermutedSource(Clips(), "picture", ROWS, 0).gather(ROWS)
    numbers = mixed.features["picture"].x_BTD[:, 0, 0]
    assert sorted(numbers) == sorted(ROWS) and not (numbers == ROWS).any()
    assert (~mixed.features["picture"].mask_BT).sum() == 12  # who has none is dealt out too
    assert np.array_equal(mixed.features["sound"].x_BTD, Clips().gather(ROWS).features["sound"].x_BTD)
    part = PermutedSource(Clips(), "picture", ROWS, 0).gather(np.array([9, 4]))
    assert part.features["picture"].x_BTD[:, 0, 0].tolist() == numbers[[9, 4]].tolist()
