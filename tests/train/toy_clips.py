"""Clips made in code: ragged sequences and vectors whose mean depends on the class; a small real `ClipSource`."""

from __future__ import annotations

import numpy as np

from mmpipe.config import EncoderConfig
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import Batch, FeatureKind, ModalityBatch

AUDIO = InputSpec(feature="audio-toy@1", kind=FeatureKind.SEQUENCE, dim=12)
IMAGE = InputSpec(feature="image-toy@1", kind=FeatureKind.VECTOR, dim=20)
NOISE = InputSpec(feature="noise-toy@1", kind=FeatureKind.VECTOR, dim=20)  # says nothing about the class
ENCODER = EncoderConfig(segments=3, components=16, width=16)
# Fusions, one of each kind of graph: mixtures of answers, pooling, products, attention over steps and over inputs.
OF_A_KIND = (
    "late_weighted",
    "cross_attn",
    "hierarchical",
    "lmf",
    "perceiver",
    "pool_max",
    "reliability",
    "transformer",
)


class ToySource:
    """`num_clips` clips of `num_classes` classes; every tenth lacks audio, every eleventh the image."""

    def __init__(self, num_clips: int = 90, num_classes: int = 3, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.labels_N = generator.integers(0, num_classes, num_clips)
        self.lengths_N = generator.integers(1, 15, num_clips)
        centres = {e.feature: generator.normal(size=(num_classes, e.dim)) for e in (AUDIO, IMAGE)}
        self.audio = [
            (centres[AUDIO.feature][y] + generator.normal(size=(n, AUDIO.dim))).astype(np.float32)
            for y, n in zip(self.labels_N, self.lengths_N, strict=True)
        ]
        self.image = (centres[IMAGE.feature][self.labels_N] + generator.normal(size=(num_clips, IMAGE.dim)) * 2).astype(
            "f4"
        )
        self.noise = generator.normal(size=(num_clips, NOISE.dim)).astype(np.float32)
        self.num_gathered = 0

    def gather(self, rows: np.ndarray) -> Batch:
        self.num_gathered += len(rows)
        frames = max((int(self.lengths_N[row]) for row in rows), default=1)
        x_BTD = np.zeros((len(rows), frames, AUDIO.dim), np.float32)
        mask_BT = np.zeros((len(rows), frames), bool)
        for b, row in enumerate(rows):
            if row % 10:
                x_BTD[b, : self.lengths_N[row]], mask_BT[b, : self.lengths_N[row]] = self.audio[row], True
        has_image = np.array([row % 11 != 0 for row in rows], bool)[:, None]
        features = {
            AUDIO.feature: ModalityBatch(x_BTD=x_BTD, mask_BT=mask_BT),
            IMAGE.feature: ModalityBatch(x_BTD=self.image[rows][:, None] * has_image[:, :, None], mask_BT=has_image),
            NOISE.feature: ModalityBatch(x_BTD=self.noise[rows][:, None], mask_BT=np.ones((len(rows), 1), bool)),
        }
        return Batch(keys=tuple(f"clip{row:03d}" for row in rows), features=features, labels_B=self.labels_N[rows])


def spec_of(fusion: str, inputs=(AUDIO, IMAGE), num_classes: int = 3, **changes) -> ModelSpec:
    inputs = inputs[:1] if fusion == "unimodal" else inputs
    classes = tuple("abcdefgh"[:num_classes])
    return ModelSpec(
        **{"fusion": fusion, "inputs": inputs, "classes": classes, "encoder": ENCODER, "dropout": 0.1, **changes}
    )
