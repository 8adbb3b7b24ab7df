"""How a network does on the validation clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mmpipe.errors import MmpipeError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.preprocess import Prepared
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.data import PreparedData
from mmpipe.train.goals.base import Objective
from mmpipe.train.ranks import ALONE, Ranks
from mmpipe.train.step import moved

EVALUATION_CLIPS = 1024


class NotFinite(MmpipeError):
    """A validation clip's loss is not finite; it knows where."""

    def __init__(self, positions: np.ndarray) -> None:
        super().__init__(f"{len(positions)} validation clips have a loss that is not finite")
        self.positions = positions


def validate(
    model: FusionModel,
    data: PreparedData,
    targets_P: Tensor,
    num_train: int,
    record: EpochRecord,
    objective: Objective,
    ranks: Ranks = ALONE,
) -> EpochRecord:
    """Return the record with the figures of the clips after the first `num_train`; raise NotFinite."""
    num_val = len(targets_P) - num_train
    if not num_val:
        return record
    if objective.compares_clips:  # every process looks at all of them: a share has fewer to be compared with
        ranks = ALONE
    model.eval()
    device = next(model.parameters()).device
    names = list(model.unimodal_heads)
    loss, score, alone_scores = 0.0, 0.0, dict.fromkeys(names, 0.0)
    alone_losses, num_present = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    for start in range(num_train, len(targets_P), EVALUATION_CLIPS):
        positions = ranks.share(np.arange(start, min(start + EVALUATION_CLIPS, len(targets_P))))
        target = targets_P[positions].to(device)
        with torch.no_grad():
            prepared = moved(data.take(positions), device)
            out = model.forward_prepared(prepared)
            losses_B = objective.plain_losses(model, out, target)
            score += objective.scores(model, out, target).sum().item()
            for name, logits_BK in out.per_modality.items():
                alone_scores[name] += objective.alone_scores(model.goal, logits_BK, target).sum().item()
            for name in names if model.fusion.experts else ():
                alone_B = objective.plain_losses(model, model.forward_prepared(only(prepared, name)), target)
                alone_losses[name] += alone_B[prepared[name].present_B].sum().item()
                num_present[name] += int(prepared[name].present_B.sum())
        if not torch.isfinite(losses_B).all():
            raise NotFinite(positions[~torch.isfinite(losses_B).cpu().numpy()])
        loss += losses_B.sum().item()
    alone = [*alone_scores.values(), *alone_losses.values(), *num_present.values()]
    loss, score, *alone = ranks.sum(torch.tensor([loss, score, *alone], dtype=torch.float64, device=device)).tolist()
    size = len(names)
    of_alone = list(zip(names, alone[:size], alone[size : 2 * size], alone[2 * size :], strict=True))
    return replace(
        record,
        val_loss=loss / num_val,
        val_score=score / num_val,
        unimodal_val_score={name: total / num_val for name, total, _, _ in of_alone},
        unimodal_val_loss={name: total / count for name, _, total, count in of_alone if count},
        measure=objective.measure,
    )


def only(prepared: Mapping[str, Prepared], name: str) -> dict[str, Prepared]:
    """Return the clips as if all modalities but one were missing."""
    return {
        other: part if other == name else replace(part, present_B=torch.zeros_like(part.present_B))
        for other, part in prepared.items()
    }
