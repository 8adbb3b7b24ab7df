from __future__ import annotations

import numpy as np
import pytest
import torch
from test_loop import CONFIG, TEST, having, train
from torch.nn.functional import one_hot
from toy_clips import AUDIO, IMAGE, ToySource, spec_of

from mmpipe.config import EncoderConfig, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.preprocess import Prepared
from mmpipe.train.augment import SpanMask, hide_modalities, hide_spans, mix_pairs, span_masks
from mmpipe.train.weights import predict

UNROTATED = EncoderConfig(segments=5, components=0, width=16)


def test_modality_dropout_never_hides_everything():
    torch.manual_seed(0)
    present_BM = torch.rand(2000, 3) < 0.7
    prepared = {str(m): Prepared(x_BSK=torch.ones(2000, 1, 2), present_B=present_BM[:, m]) for m in range(3)}
    hidden_BM = torch.stack([part.present_B for part in hide_modalities(prepared, 0.4).values()], 1)
    assert torch.equal(hidden_BM.any(1), present_BM.any(1))
    assert not (hidden_BM & ~present_BM).any()
    assert 0.55 < hidden_BM.sum() / present_BM.sum() < 0.75
    assert hide_modalities(prepared, 0.0) is prepared


def test_a_pair_is_mixed_by_one_share_in_values_and_labels():
    torch.manual_seed(0)
    labels_B = torch.arange(6) % 3
    x_B11 = torch.arange(6.0)[:, None, None] + 10
    prepared = {"a": Prepared(x_BSK=x_B11, present_B=torch.ones(6, dtype=torch.bool))}
    torch.manual_seed(7)
    mixed, shares_BK = mix_pairs(prepared, one_hot(labels_B, 3).float(), alpha=1.0)
    torch.manual_seed(7)
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    partner_B = torch.randperm(6)
    torch.testing.assert_close(mixed["a"].x_BSK, share * x_B11 + (1 - share) * x_B11[partner_B])
    expected_BK = torch.zeros(6, 3)
    for clip in range(6):
        expected_BK[clip, labels_B[clip]] += share
        expected_BK[clip, labels_B[partner_B[clip]]] += 1 - share
    torch.testing.assert_close(shares_BK, expected_BK)
    assert 0.01 < share < 0.99 and (partner_B != torch.arange(6)).any()


def test_who_lacks_a_modality_is_given_its_partners_values_unmixed():
    x_B11 = torch.tensor([4.0, 0.0, 8.0, 0.0])[:, None, None]
    prepared = {"a": Prepared(x_BSK=x_B11, present_B=torch.tensor([True, False, True, False]))}
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, _ = mix_pairs(prepared, torch.zeros(4, 2), alpha=0.4)
        torch.manual_seed(seed)
        torch.distributions.Beta(0.4, 0.4).sample()
        partner_B = torch.randperm(4)
        for clip, other in enumerate(partner_B.tolist()):
            values = {float(x_B11[row]) for row in (clip, other) if prepared["a"].present_B[row]}
            assert bool(mixed["a"].present_B[clip]) == bool(values)
            if len(values) == 1:
                assert float(mixed["a"].x_BSK[clip]) == pytest.approx(values.pop())
            elif values:
                assert min(values) <= float(mixed["a"].x_BSK[clip]) <= max(values)
            else:
                assert float(mixed["a"].x_BSK[clip]) == 0


def test_spans_hide_one_run_per_axis_and_never_everything():
    torch.manual_seed(0)
    mask = SpanMask(segments=5, dimensions=8, longest_segments=4, most_dimensions=3)
    part = Prepared(x_BSK=torch.ones(500, 5, 8), present_B=torch.ones(500, dtype=torch.bool))
    x_BSD = hide_spans({"a": part}, {"a": mask})["a"].x_BSK
    hidden_BS, hidden_BD = (x_BSD == 0).all(2), (x_BSD == 0).all(1)
    assert torch.equal(x_BSD == 0, hidden_BS[:, :, None] | hidden_BD[:, None])
    for hidden_BX, longest in ((hidden_BS, 4), (hidden_BD, 3)):
        runs_B = (hidden_BX[:, 1:] & ~hidden_BX[:, :-1]).sum(1) + hidden_BX[:, 0]
        assert runs_B.max() == 1
        assert sorted(set(hidden_BX.sum(1).tolist())) == list(range(longest + 1))
        assert hidden_BX.any(0).all()  # every place is hidden some time


def test_masks_stand_where_the_axes_are_still_there():
    config = TrainConfig(mask_segments=2, mask_dimensions=4)
    for fusion, kept in (("transformer", (5, 12)), ("concat", (5, 12))):
        model = FusionModel(spec_of(fusion, encoder=UNROTATED))
        masks = span_masks(model.spec, model.preprocessors, config)
        assert set(masks) == {AUDIO.feature}  # the image is one vector: it has no time
        mask = masks[AUDIO.feature]
        assert (mask.segments, mask.dimensions, mask.longest_segments, mask.most_dimensions) == (*kept, 2, 4), fusion
    tokens = FusionModel(spec_of("transformer"))
    assert span_masks(tokens.spec, tokens.preprocessors, TrainConfig(mask_segments=2))


@pytest.mark.parametrize(
    ("fusion", "changes", "said"),
    [
        ("transformer", {"mask_dimensions": 1}, r"mask_dimensions cannot hide spans of audio-toy@1 for 'transformer'"),
        ("concat", {"mask_segments": 1}, r"Set mask_segments = 0, or components = 0 in its encoder"),
    ],
)
def test_masks_of_what_is_mixed_are_refused(fusion, changes, said):
    with pytest.raises(ConfigError, match=said):
        train(fusion, config=having(CONFIG, **changes))


def test_a_flat_sequence_is_masked_by_its_segments():
    """[B, 1, S * D] holds the segments side by side: the first segment's dimensions come first."""
    torch.manual_seed(1)
    mask = SpanMask(segments=3, dimensions=2, longest_segments=1, most_dimensions=0)
    part = Prepared(x_BSK=torch.ones(200, 1, 6), present_B=torch.ones(200, dtype=torch.bool))
    rows = {tuple(row) for row in hide_spans({"a": part}, {"a": mask})["a"].x_BSK[:, 0].int().tolist()}
    assert rows == {(1,) * 6, (0, 0, 1, 1, 1, 1), (1, 1, 0, 0, 1, 1), (1, 1, 1, 1, 0, 0)}


def test_only_real_steps_are_hidden_and_mixed():
    torch.manual_seed(3)
    real_BS = torch.arange(6) < torch.tensor([1, 2, 4, 6] * 50)[:, None]
    x_BSD = torch.where(real_BS[:, :, None], 1.0, 0.0).expand(-1, -1, 3)
    part = Prepared(x_BSK=x_BSD, present_B=torch.ones(200, dtype=torch.bool), mask_BS=real_BS)
    mask = SpanMask(segments=6, dimensions=3, longest_segments=5, most_dimensions=0)
    hidden_BS = (hide_spans({"a": part}, {"a": mask})["a"].x_BSK == 0).all(2) & real_BS
    for length in (1, 2, 4, 6):
        counts = set(hidden_BS[real_BS.sum(1) == length].sum(1).tolist())
        assert counts == set(range(length)), length  # one step at least is left
    mixed = mix_pairs({"a": part}, torch.zeros(200, 2), alpha=1.0)[0]["a"]
    assert torch.equal(mixed.x_BSK[:, :, 0] > 0, mixed.real_BS)  # no share of a real step is lost to padding
    torch.testing.assert_close(mixed.x_BSK[mixed.real_BS], torch.ones(int(mixed.real_BS.sum()), 3))
    assert (mixed.real_BS.sum(1) >= real_BS.sum(1)).all()


@pytest.mark.parametrize("fusion", ["concat", "transformer"])
def test_a_run_with_all_of_them_still_learns(fusion):
    source = ToySource()
    config = TrainConfig(
        epochs=40, batch_clips=16, mixup_alpha=0.4, mask_segments=1, mask_dimensions=2, modality_dropout=0.2
    )
    trained = train(fusion, source, config, spec={"encoder": UNROTATED, "inputs": (AUDIO, IMAGE)})
    assert (predict(trained.model, source, TEST).argmax(1) == source.labels_N[TEST]).mean() > 0.7
    assert np.isfinite([record.train_loss for record in trained.history]).all()
