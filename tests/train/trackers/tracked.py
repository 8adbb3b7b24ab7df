"""What the tests of the trackers share: a fit, and epochs of it."""

from __future__ import annotations

from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.trackers.base import TrackedFit


def fit(name: str = "fits/concat/part-0-seed-0") -> TrackedFit:
    """Return a fit with a setting of every kind."""
    settings = {
        "fusion": "concat",
        "train.learning_rate": 0.25,
        "seed": 0,
        "train.balance_noise": True,
        "long": "x" * 900,
    }
    return TrackedFit(model="who", checkpoint="who-0a1b", name=name, settings=settings)


def epoch(number: int) -> EpochRecord:
    """Return an epoch with every figure."""
    return EpochRecord(
        epoch=number,
        train_loss=1 / number,
        gradient_norm=0.5,
        val_loss=2 / number,
        val_score=0.25 * number,
        unimodal_val_score={"audio-mfccseg@1": 0.125},
        learning_rate=0.01,
    )
