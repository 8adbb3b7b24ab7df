"""How a network does on the validation clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mmpipe.errors import MmpipeError
from mmpipe.fusion.model import FusionModel
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.data import PreparedData
from mmpipe.train.losses import fused_loss
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
    labels_P: Tensor,
    num_train: int,
    record: EpochRecord,
    ranks: Ranks = ALONE,
) -> EpochRecord:
    """Return the record with the figures of the clips after the first `num_train`; raise NotFinite."""
    num_val = len(labels_P) - num_train
    if not num_val:
        return record
    model.eval()
    device = next(model.parameters()).device
    names = list(model.unimodal_heads)
    loss, hits, unimodal_hits = 0.0, 0, dict.fromkeys(names, 0)
    for start in range(num_train, len(labels_P), EVALUATION_CLIPS):
        positions = ranks.share(np.arange(start, min(start + EVALUATION_CLIPS, len(labels_P))))
        labels_B = labels_P[positions].to(device)
        with torch.no_grad():
            out = model.forward_prepared(moved(data.take(positions), device))
            losses_B = fused_loss(out, labels_B)
        if not torch.isfinite(losses_B).all():
            raise NotFinite(positions[~torch.isfinite(losses_B).cpu().numpy()])
        loss += losses_B.sum().item()
        hits += num_hits(out.logits_BK, labels_B)
        for name, logits_BK in out.per_modality.items():
            unimodal_hits[name] += num_hits(logits_BK, labels_B)
    sums = torch.tensor([loss, hits, *unimodal_hits.values()], dtype=torch.float64, device=device)
    loss, hits, *alone = ranks.sum(sums).tolist()
    accuracies = {name: count / num_val for name, count in zip(names, alone, strict=True)}
    return replace(record, val_loss=loss / num_val, val_accuracy=hits / num_val, unimodal_val_accuracy=accuracies)


def num_hits(logits_BK: Tensor | None, labels_B: Tensor) -> int:
    """Return how many clips have their label's score on top."""
    return 0 if logits_BK is None else int((logits_BK.argmax(1) == labels_B).sum())
