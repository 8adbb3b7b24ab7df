"""What a goal adds to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from mmpipe.fusion.base import Embedded
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import ModelSpec


class GoalPart(nn.Module):
    """What lies between a fusion and an answer.

    Where one vector is enough, `num_outputs` says how many numbers a linear head makes of it: of the joint embedding z,
    and for the auxiliary losses of each modality alone. Where it is not, `num_outputs` is None and `read` makes the
    answer of all that there is. `forward` is never called: a part is asked for one thing at a time.
    """

    reads_tokens: ClassVar[bool] = False  # True: encoders keep every step, whatever the fusion reads
    num_outputs: int | None = None
    can_export: bool = True  # what it answers can be written as one graph

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__()

    @classmethod
    def fused_spec(cls, spec: ModelSpec) -> ModelSpec:
        """Return the spec of the fusion; most goals fuse all inputs."""
        return spec

    def fused(self, embedded: Embedded) -> Embedded:
        """Return what the fusion reads of a batch: the inputs of `fused_spec`."""
        return embedded

    def view(self, feature: str, vector_BW: Tensor) -> Tensor:
        """Return encoded vectors of one feature as others may use them: as they are, or in a space of the goal."""
        return vector_BW

    def build(self, inputs: Mapping[str, tuple[int, int]]) -> None:
        """Make what depends on the sizes of the preprocessed inputs, (tokens, dimensions) by name; most need none."""

    def fit(self, targets_N: np.ndarray) -> None:
        """Set what is fitted to the training clips' targets, before training; most goals have nothing to fit."""

    def load_weights(self) -> None:
        """Give it the weights that its options say it begins from; most begin from random ones."""

    def read(self, out: FusionOutput, embedded: Embedded, prepared: Mapping[str, Prepared]) -> FusionOutput:
        """Return the output with `logits_BK` or `answer` filled, where a linear head on z does not decide."""
        raise NotImplementedError

    def answers(self, out: FusionOutput) -> Tensor:
        """Return the answers [B, ...] in the form in which they are measured and exported."""
        raise NotImplementedError
