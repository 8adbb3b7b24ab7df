from __future__ import annotations

import numpy as np
import pytest
import torch

from mmpipe.config import BackboneConfig, EncoderConfig, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.augment_pictures import change_pictures, picture_inputs
from mmpipe.train.loop import train_network
from mmpipe.train.weights import predict
from mmpipe.types import Batch, FeatureKind, ModalityBatch

SHAPE = (8, 8, 3)
NAME = "image-pixels@1"


def spec(*, with_backbone: bool = True) -> ModelSpec:
    encoder = EncoderConfig(backbone=BackboneConfig(kind="small_cnn")) if with_backbone else EncoderConfig()
    return ModelSpec(
        fusion="unimodal",
        inputs=(InputSpec(feature=NAME, kind=FeatureKind.SEQUENCE, dim=192),),
        classes=("a", "b"),
        encoders={NAME: encoder},
    )


def clips(x_BSHWC: torch.Tensor, real: tuple[int, ...]) -> Prepared:
    mask_BS = torch.arange(x_BSHWC.shape[1]) < torch.tensor(real)[:, None]
    x_BSK = torch.where(mask_BS[:, :, None], x_BSHWC.flatten(2), 0.0)
    return Prepared(x_BSK=x_BSK, present_B=mask_BS.any(1), mask_BS=mask_BS)


def changed(part: Prepared, seed: int = 0, **changes) -> torch.Tensor:
    torch.manual_seed(seed)
    found = change_pictures({NAME: part, "other@1": part}, {NAME: SHAPE}, TrainConfig(**changes))
    assert found["other@1"] is part, "only pictures are changed"
    assert torch.equal(found[NAME].mask_BS, part.mask_BS) and torch.equal(found[NAME].present_B, part.present_B)
    return found[NAME].x_BSK.unflatten(2, SHAPE)


def test_half_of_the_clips_are_mirrored_and_all_frames_alike():
    x_BSHWC = torch.rand(40, 3, *SHAPE) * 255
    got = changed(clips(x_BSHWC, (3,) * 40), flip=True)
    as_it_was = [torch.allclose(got[b], x_BSHWC[b], atol=1e-3) for b in range(40)]
    mirrored = [torch.allclose(got[b], x_BSHWC[b].flip(2), atol=1e-3) for b in range(40)]
    assert all(one != other for one, other in zip(as_it_was, mirrored, strict=True)) and 10 < sum(mirrored) < 30


def test_a_part_is_cut_out_within_the_picture_and_keeps_its_order():
    columns_W = torch.arange(8.0) * 10
    x_BSHWC = columns_W[None, None, None, :, None].expand(30, 2, 8, 8, 3)
    got = changed(clips(x_BSHWC, (2,) * 30), crop_share=0.5)
    steps_BW = got[:, 0, 0, :, 0].diff(dim=1)
    inner_BW = steps_BW[:, 1:-1]  # at the border pixels repeat
    assert (steps_BW >= -1e-3).all() and inner_BW.max() <= 10.01 and inner_BW.mean() < 9.5
    assert got.min() >= 0 and got.max() <= 70
    assert torch.equal(got[:, 0], got[:, 1]), "all frames of a clip are cut alike"
    assert len({round(float(row[0]), 3) for row in got[:, 0, 0, :, 0]}) > 5, "each clip in its own place"


def test_light_changes_each_clip_within_its_limits():
    x_BSHWC = torch.full((50, 1, *SHAPE), 100.0)
    got = changed(clips(x_BSHWC, (1,) * 50), light_jitter=0.2)
    assert got.std(dim=(1, 2, 3, 4)).max() < 1e-3 and 10 < got.mean(dim=(1, 2, 3, 4)).std() < 20
    assert got.min() >= 100 - 25.6 and got.max() <= 100 + 25.6
    assert changed(clips(x_BSHWC * 2.5, (1,) * 50), light_jitter=0.9).max() <= 255


def test_a_run_of_frames_stands_for_all_of_them_in_order():
    frames_S = torch.arange(6.0)
    x_BSHWC = frames_S[None, :, None, None, None].expand(60, 6, *SHAPE).clone()
    got = changed(clips(x_BSHWC, (6,) * 30 + (3,) * 30), frame_share=0.4)[:, :, 0, 0, 0]
    assert (got.diff(dim=1)[:30] >= 0).all() and (got[30:, :3].diff(dim=1) >= 0).all()
    assert not got[30:, 3:].any(), "padding stays padding"
    num_used = torch.tensor([len(set(row.tolist())) for row in got[:30]])
    assert num_used.min() >= 3 and num_used.max() == 6
    assert got[30:].max() <= 2


def test_nothing_is_drawn_where_nothing_is_asked_and_the_same_seed_gives_the_same():
    assert picture_inputs(spec(), TrainConfig()) == {}
    part = clips(torch.rand(4, 2, *SHAPE) * 255, (2, 1, 0, 2))
    every = {"crop_share": 0.6, "flip": True, "light_jitter": 0.3, "frame_share": 0.5}
    assert torch.equal(changed(part, seed=3, **every), changed(part, seed=3, **every))
    assert not torch.equal(changed(part, seed=3, **every), changed(part, seed=4, **every))
    assert not changed(part, **every)[2].any(), "a clip without pictures has none"
    assert picture_inputs(spec(), TrainConfig(**every)) == {NAME: SHAPE}


@pytest.mark.parametrize("asked", [{"crop_share": 0.9}, {"flip": True}, {"light_jitter": 0.1}, {"frame_share": 0.5}])
def test_asking_for_it_without_pictures_is_an_error(asked):
    with pytest.raises(ConfigError, match=rf"train\.{next(iter(asked))} changes stored pictures, and none of"):
        picture_inputs(spec(with_backbone=False), TrainConfig(**asked))


class Pictures:
    """Films of two frames: a bright square in the left or in the right half, somewhere."""

    def __init__(self, num_clips: int) -> None:
        random = np.random.default_rng(0)
        self.labels_N = random.integers(0, 2, num_clips)
        self.frames_NSHWC = random.integers(0, 40, (num_clips, 2, *SHAPE)).astype(np.float32)
        for clip, label in enumerate(self.labels_N):
            row, column = random.integers(0, 6), 5 * label + random.integers(0, 2)
            self.frames_NSHWC[clip, :, row : row + 2, column : column + 2] = 250

    def gather(self, rows: np.ndarray) -> Batch:
        x_BTD = self.frames_NSHWC[rows].reshape(len(rows), 2, -1)
        features = {NAME: ModalityBatch(x_BTD=x_BTD, mask_BT=np.ones((len(rows), 2), bool))}
        return Batch(keys=tuple(f"clip{row:03d}" for row in rows), features=features, labels_B=self.labels_N[rows])


def test_a_network_learns_from_changed_pictures_and_the_same_seed_gives_the_same_weights():
    source, rows = Pictures(72), np.arange(72)
    changes = {"crop_share": 0.9, "light_jitter": 0.2, "frame_share": 0.5}
    config = TrainConfig(epochs=12, batch_clips=12, learning_rate=5e-3, dropout=0.0, **changes)

    def trained(config: TrainConfig):
        return train_network(spec(), source, source.labels_N, rows[:48], rows[48:60], config, seed=0).model

    first, again = trained(config), trained(config)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    plain = trained(config.model_copy(update={"crop_share": 1.0, "light_jitter": 0.0, "frame_share": 1.0}))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), plain.parameters(), strict=True))
    assert (predict(first, source, rows[60:]).argmax(1) == source.labels_N[60:]).mean() > 0.8
