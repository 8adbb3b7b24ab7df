"""What training changes about preprocessed clips: it hides modalities, hides spans of sequences, mixes pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmpipe.config import TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.preprocess import Prepared, Preprocess
from mmpipe.fusion.spec import ModelSpec
from mmpipe.types import FeatureKind


def hide_modalities(prepared: Mapping[str, Prepared], chance: float) -> Mapping[str, Prepared]:
    """Hide each modality of each clip with this chance, never the last one that is present (modality dropout)."""
    if not chance or len(prepared) < 2:
        return prepared
    present_BM = torch.stack([part.present_B for part in prepared.values()], 1)
    kept_BM = present_BM & (torch.rand(present_BM.shape) >= chance)
    kept_BM = torch.where(kept_BM.any(1, keepdim=True), kept_BM, present_BM)
    return {
        name: replace(part, present_B=kept_B)
        for (name, part), kept_B in zip(prepared.items(), kept_BM.unbind(1), strict=True)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanMask:
    """Where a sequence's preprocessed values lie, and how much of it a training clip may hide."""

    segments: int  # or steps
    dimensions: int  # of a segment
    longest_segments: int
    most_dimensions: int


def span_masks(spec: ModelSpec, preprocessors: Mapping[str, Preprocess], config: TrainConfig) -> dict[str, SpanMask]:
    """Return the masks of the inputs that are sequences; raise ConfigError where the axes are not there any more.

    The time of a preprocessed sequence is its segments or steps. They are told apart where the network reads tokens,
    or where no principal components mix them (`components = 0`); dimensions only in the second case.
    """
    if not (config.mask_segments or config.mask_dimensions):
        return {}
    masks = {}
    for entry in spec.inputs:
        part = preprocessors[entry.feature]
        if entry.kind is not FeatureKind.SEQUENCE:
            continue
        if part.components_KF is not None and (config.mask_dimensions or not part.per_segment):
            wanted = "mask_dimensions" if config.mask_dimensions else "mask_segments"
            raise ConfigError(
                f"{wanted} cannot hide spans of {entry.feature} for {spec.fusion!r}: principal components mix them. "
                f"Set {wanted} = 0, or components = 0 in its encoder"
            )
        dimensions = part.dim if part.per_segment else part.dim // part.segments
        masks[entry.feature] = SpanMask(
            segments=part.segments,
            dimensions=dimensions,
            longest_segments=config.mask_segments,
            most_dimensions=config.mask_dimensions,
        )
    return masks


def hide_spans(prepared: Mapping[str, Prepared], masks: Mapping[str, SpanMask]) -> Mapping[str, Prepared]:
    """Set a run of segments and a run of dimensions of every sequence to zero, the mean of the training clips.

    SpecAugment (Park et al. 2019) without warping, one mask per axis: width from U{0 .. limit}, start from
    U{0 .. size - width}, drawn for every clip within its real segments. At least one of them stays, and one dimension.
    """
    return {name: _hide(part, masks[name]) if name in masks else part for name, part in prepared.items()}


def _hide(part: Prepared, mask: SpanMask) -> Prepared:
    batch, tokens = part.x_BSK.shape[:2]
    real_B = part.real_BS.sum(1) if tokens == mask.segments else torch.full((batch,), mask.segments)
    hidden_BS = _spans(real_B, mask.segments, mask.longest_segments)
    hidden_BD = _spans(torch.full((batch,), mask.dimensions), mask.dimensions, mask.most_dimensions)
    hidden_BSD = hidden_BS[:, :, None] | hidden_BD[:, None]
    return replace(part, x_BSK=part.x_BSK.masked_fill(hidden_BSD.reshape(part.x_BSK.shape), 0.0))


def _spans(sizes_B: Tensor, places: int, longest: int) -> Tensor:
    """Return one run within the first so many places of every row, bool [B, places]."""
    sizes_B1 = sizes_B[:, None]
    limit_B1 = (sizes_B1 - 1).clamp(min=0, max=longest)
    width_B1 = (torch.rand(len(sizes_B), 1) * (limit_B1 + 1)).long()
    start_B1 = (torch.rand(len(sizes_B), 1) * (sizes_B1 - width_B1 + 1)).long()
    at = torch.arange(places)
    return (at >= start_B1) & (at < start_B1 + width_B1)


def mix_pairs(prepared: Mapping[str, Prepared], target: Tensor, alpha: float) -> tuple[Mapping[str, Prepared], Tensor]:
    """Mix every clip with another of the batch: mixup (Zhang et al. 2018); its targets with it.

    x = s x_i + (1 - s) x_j and the same for targets [B, ...], with one share s ~ Beta(alpha, alpha) per batch. Where
    one of the two lacks a modality, or a step, the other's values stand for both: zeros would be no clip's.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    partner_B = torch.randperm(len(target))
    mixed = {name: _mix(part, part.take(partner_B), share) for name, part in prepared.items()}
    return mixed, share * target + (1 - share) * target[partner_B]


def _mix(first: Prepared, second: Prepared, share: float) -> Prepared:
    first_BS1, second_BS1 = first.real_BS[:, :, None], second.real_BS[:, :, None]
    both_BSK = share * first.x_BSK + (1 - share) * second.x_BSK
    mixed_BSK = torch.where(first_BS1, torch.where(second_BS1, both_BSK, first.x_BSK), second.x_BSK)
    return Prepared(
        x_BSK=mixed_BSK,
        present_B=first.present_B | second.present_B,
        mask_BS=first.real_BS | second.real_BS,
    )
