"""What training changes about stored pictures: it cuts out a part, mirrors, changes the light, and leaves out frames.

Of inputs that go through a backbone which reads pictures; all frames of a clip are changed alike.
Axes: B clips, S frames, H rows, W columns, C colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from mmpipe.config import TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.backbones.pictures import picture_shape
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import ModelSpec

MOST_LIGHT = 255.0


def picture_inputs(spec: ModelSpec, config: TrainConfig) -> dict[str, tuple[int, int, int]]:
    """Return the inputs whose pictures are changed, with their height, width and colours; none where nothing is.

    Raise ConfigError where the config asks for it and no input is of pictures.
    """
    asked = {
        "crop_share": config.crop_share < 1,
        "flip": config.flip,
        "light_jitter": config.light_jitter > 0,
        "frame_share": config.frame_share < 1,
    }
    if not any(asked.values()):
        return {}
    shapes = {}
    for entry in spec.inputs:
        backbone = spec.encoder_of(entry.feature).backbone
        if backbone and backbone.reads_pictures:
            shapes[entry.feature] = picture_shape(entry.dim, backbone.picture_shape, entry.feature)
    if not shapes:
        name = next(name for name, is_asked in asked.items() if is_asked)
        raise ConfigError(
            f"train.{name} changes stored pictures, and none of {list(spec.features)} goes through a backbone that "
            "reads pictures: set `encoders.FEATURE.backbone`, or leave it out"
        )
    return shapes


def change_pictures(
    prepared: Mapping[str, Prepared], shapes: Mapping[str, tuple[int, int, int]], config: TrainConfig
) -> Mapping[str, Prepared]:
    """Change every clip's pictures by draws of its own: frames, then the part and its mirror, then the light."""
    return {name: _changed(part, shapes[name], config) if name in shapes else part for name, part in prepared.items()}


def _changed(part: Prepared, shape_HWC: tuple[int, int, int], config: TrainConfig) -> Prepared:
    part = _fewer_frames(part, config.frame_share) if config.frame_share < 1 else part
    x_BSHWC = part.x_BSK.unflatten(2, shape_HWC)
    if config.crop_share < 1 or config.flip:
        x_BSHWC = _cut_out(x_BSHWC, config.crop_share, flip=config.flip)
    if config.light_jitter:
        x_BSHWC = _other_light(x_BSHWC, config.light_jitter)
    x_BSK = torch.where(part.real_BS[:, :, None], x_BSHWC.flatten(2), 0.0)
    return replace(part, x_BSK=x_BSK)


def _fewer_frames(part: Prepared, least_share: float) -> Prepared:
    """Keep a run of n' of the n frames, n' / n from U(least share, 1), spread over the same places in order."""
    real_B = part.real_BS.sum(1)
    share_B = least_share + (1 - least_share) * torch.rand(len(real_B))
    kept_B = (share_B * real_B).ceil().clamp(min=1).long()
    start_B = (torch.rand(len(real_B)) * (real_B - kept_B + 1).clamp(min=1)).long()
    places_S = torch.arange(part.x_BSK.shape[1])
    frame_BS = start_B[:, None] + places_S * kept_B[:, None] // real_B[:, None].clamp(min=1)
    frame_BS = torch.where(part.real_BS, frame_BS, places_S)
    return replace(part, x_BSK=part.x_BSK.gather(1, frame_BS[:, :, None].expand_as(part.x_BSK)))


def _cut_out(x_BSHWC: Tensor, least_share: float, *, flip: bool) -> Tensor:
    """Return a part of each clip's pictures in the old size, sides of U(least share, 1), mirrored in half of them.

    Pixels between pixels are linear mixes (random resized crops of Szegedy et al. 2015, with the aspect kept).
    """
    batch, frames, height, width, colours = x_BSHWC.shape
    side_B = least_share + (1 - least_share) * torch.rand(batch)
    offset_B2 = (2 * torch.rand(batch, 2) - 1) * (1 - side_B)[:, None]
    mirror_B = torch.where(torch.rand(batch) < 0.5, -1.0, 1.0) if flip else torch.ones(batch)
    none_B = torch.zeros(batch)
    rows = [
        torch.stack([side_B * mirror_B, none_B, offset_B2[:, 0]], 1),
        torch.stack([none_B, side_B, offset_B2[:, 1]], 1),
    ]
    grid_BHW2 = affine_grid(torch.stack(rows, 1), [batch, colours, height, width], align_corners=False)
    x_BXHW = x_BSHWC.permute(0, 1, 4, 2, 3).flatten(1, 2)  # frames and colours side by side: one grid serves all
    cut_BXHW = grid_sample(x_BXHW, grid_BHW2, padding_mode="border", align_corners=False)
    return cut_BXHW.unflatten(1, (frames, colours)).permute(0, 1, 3, 4, 2)


def _other_light(x_BSHWC: Tensor, most: float) -> Tensor:
    """Return pictures whose contrast around their mean and whose brightness change by up to this share."""
    factor_B = 1 + most * (2 * torch.rand(len(x_BSHWC)) - 1)
    shift_B = MOST_LIGHT * most * (torch.rand(len(x_BSHWC)) - 0.5)
    shape = (-1, 1, 1, 1, 1)
    mean_BSHWC = x_BSHWC.mean((2, 3, 4), keepdim=True)
    changed = (x_BSHWC - mean_BSHWC) * factor_B.view(shape) + mean_BSHWC + shift_B.view(shape)
    return changed.clamp(0, MOST_LIGHT)
