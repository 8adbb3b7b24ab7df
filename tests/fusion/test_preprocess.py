from __future__ import annotations

import numpy as np
import pytest
import torch

from mmpipe.config import EncoderConfig
from mmpipe.fusion.preprocess import Preprocess, PreprocessFit, pool_segments, principal_components
from mmpipe.fusion.spec import InputSpec
from mmpipe.types import FeatureKind

SEQUENCE = InputSpec(feature="s", kind=FeatureKind.SEQUENCE, dim=4)
VECTOR = InputSpec(feature="v", kind=FeatureKind.VECTOR, dim=6)


def ragged(lengths, dim, seed=0, pad=3):
    generator = torch.Generator().manual_seed(seed)
    x_BTD = torch.randn(len(lengths), max(lengths) + pad, dim, generator=generator)
    return x_BTD, torch.arange(x_BTD.shape[1]) < torch.tensor(lengths)[:, None]


def fitted(entry, config, x_BTD, mask_BT, per_segment=False, batch=5):
    preprocess = Preprocess(entry, config, per_segment=per_segment)
    fit = PreprocessFit(preprocess, len(x_BTD))
    for start in range(0, len(x_BTD), batch):
        fit.add(x_BTD[start : start + batch], mask_BT[start : start + batch])
    fit.finish()
    return preprocess


@pytest.mark.parametrize("num_real", [1, 2, 3, 4, 5, 6, 7, 11, 20])
def test_segments_are_the_ordered_means(num_real):
    x_BTD, mask_BT = ragged([num_real], 4)
    got = pool_segments(x_BTD, mask_BT, 5)[0].numpy()
    x_TD = x_BTD[0, :num_real].double().numpy()
    for s in range(5):
        low = s * num_real // 5
        high = max((s + 1) * num_real // 5, low + 1)
        np.testing.assert_allclose(got[s], x_TD[low:high].mean(0), rtol=1e-6, atol=1e-7)


def test_as_many_frames_as_segments_is_the_identity():
    x_BTD, mask_BT = ragged([5], 4)
    assert torch.equal(pool_segments(x_BTD, mask_BT, 5), x_BTD[:, :5])


def test_real_frames_may_lie_anywhere():
    x_BTD, _ = ragged([6], 4, pad=0)
    mask_BT = torch.tensor([[True, False, True, True, False, True]])
    compact = x_BTD[:, mask_BT[0]]
    expected = pool_segments(compact, torch.ones(1, 4, dtype=torch.bool), 2)
    assert torch.equal(pool_segments(x_BTD, mask_BT, 2), expected)


@pytest.mark.parametrize("per_segment", [False, True])
def test_neither_padding_nor_other_clips_show(per_segment):
    x_BTD, mask_BT = ragged([3, 9, 20, 1, 7, 8], 4)
    preprocess = fitted(SEQUENCE, EncoderConfig(components=3), x_BTD, mask_BT, per_segment)
    expected = preprocess(x_BTD, mask_BT).x_BSK
    assert expected.shape == ((6, 5, 3) if per_segment else (6, 1, 3))
    x_BTD[~mask_BT] = float("nan")
    assert torch.equal(preprocess(x_BTD, mask_BT).x_BSK, expected)
    longer = torch.cat([x_BTD, torch.full((6, 30, 4), 7.0)], 1)
    longer_mask = torch.cat([mask_BT, torch.zeros(6, 30, dtype=torch.bool)], 1)
    assert torch.equal(preprocess(longer, longer_mask).x_BSK, expected)
    assert torch.equal(preprocess(x_BTD[2:3], mask_BT[2:3]).x_BSK, expected[2:3])


def test_a_missing_clip_gives_zeros_and_says_so():
    x_BTD, mask_BT = ragged([3, 9], 4)
    mask_BT[0] = False
    prepared = Preprocess(SEQUENCE, EncoderConfig(), per_segment=True)(x_BTD, mask_BT)
    assert prepared.present_B.tolist() == [False, True]
    assert not prepared.x_BSK[0].any()
    assert prepared.x_BSK[1].any()


@pytest.mark.parametrize(("num_clips", "dim"), [(30, 6), (5, 6), (9, 40)])
def test_axes_against_numpy(num_clips, dim):
    entry = InputSpec(feature="v", kind=FeatureKind.VECTOR, dim=dim)
    x_BTD = torch.randn(num_clips, 1, dim, generator=torch.Generator().manual_seed(1)) * 3 + 100
    mask_BT = torch.ones(num_clips, 1, dtype=torch.bool)
    got_NK = fitted(entry, EncoderConfig(components=4), x_BTD, mask_BT)(x_BTD, mask_BT).x_BSK[:, 0].double().numpy()
    x_ND = x_BTD[:, 0].double().numpy()
    z_ND = (x_ND - x_ND.mean(0)) / x_ND.std(0)
    axes = np.linalg.svd(z_ND, full_matrices=False)[2]
    projected_NK = z_ND @ axes[:4].T
    projected_NK *= np.sign(axes[np.arange(4), np.abs(axes[:4]).argmax(1)])
    np.testing.assert_allclose(got_NK, projected_NK / np.sqrt((projected_NK**2).mean()), atol=2e-5)


def test_components_past_the_rank_are_zero():
    x_BTD, mask_BT = (
        torch.randn(4, 1, 6, generator=torch.Generator().manual_seed(1)),
        torch.ones(4, 1, dtype=torch.bool),
    )
    out_NK = fitted(VECTOR, EncoderConfig(components=6), x_BTD, mask_BT)(x_BTD, mask_BT).x_BSK[:, 0]
    assert out_NK[:, :3].abs().min() > 0
    assert not out_NK[:, 3:].any()


def test_zero_components_keep_every_dimension_standardised():
    x_BTD, mask_BT = ragged([1] * 30, 6, pad=0)
    x_BTD[:, :, 2] = 5.0  # constant: nothing was learned about it
    out_NK = fitted(VECTOR, EncoderConfig(components=0), x_BTD, mask_BT)(x_BTD, mask_BT).x_BSK[:, 0]
    assert out_NK.shape == (30, 6)
    assert not out_NK[:, 2].any()
    kept = out_NK[:, [0, 1, 3, 4, 5]]
    torch.testing.assert_close(kept.mean(0), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(kept.square().mean(0), torch.ones(5), atol=1e-4, rtol=0)


def test_missing_training_clips_do_not_count():
    x_BTD, mask_BT = ragged([1] * 30, 6, pad=0)
    mask_BT[::3] = False
    sparse = fitted(VECTOR, EncoderConfig(components=4), x_BTD, mask_BT)
    dense = fitted(VECTOR, EncoderConfig(components=4), x_BTD[mask_BT[:, 0]], mask_BT[mask_BT[:, 0]])
    for name, value in sparse.named_buffers():
        torch.testing.assert_close(value, dict(dense.named_buffers())[name])


def test_a_feature_that_no_training_clip_has_is_switched_off():
    x_BTD, mask_BT = ragged([1] * 8, 6, pad=0)
    preprocess = fitted(VECTOR, EncoderConfig(components=4), x_BTD, torch.zeros_like(mask_BT))
    assert not preprocess(x_BTD, mask_BT).x_BSK.any()


def test_outliers_are_bounded():
    x_BTD, mask_BT = ragged([1] * 30, 6, pad=0)
    preprocess = fitted(VECTOR, EncoderConfig(components=0), x_BTD, mask_BT)
    assert preprocess(x_BTD * 1e20, mask_BT).x_BSK.abs().max() == 8


def test_the_randomised_axes_are_the_true_ones():
    generator = np.random.default_rng(0)
    left_NR = generator.normal(size=(1100, 30))
    left_NR = np.linalg.qr(left_NR - left_NR.mean(0))[0]
    axes_FR = np.linalg.qr(generator.normal(size=(1050, 30)))[0]
    rows_NF = torch.from_numpy(left_NR * np.linspace(100, 10, 30) @ axes_FR.T)
    got_KF = principal_components(rows_NF, 20).numpy()
    assert np.array_equal(got_KF, principal_components(rows_NF, 20).numpy())
    cosines = np.abs(np.sum(got_KF * axes_FR[:, :20].T, 1)) / np.linalg.norm(got_KF, axis=1)
    assert cosines.min() > 1 - 1e-9
