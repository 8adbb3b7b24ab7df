"""How unlike the normal clips a clip is.

Axes: B clips, M inputs, S tokens, K dimensions of a preprocessed input, N numbers of the bottleneck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmpipe.config import AnomalyOptions, OverTime
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.byfeature import ByFeature
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import ModelSpec

LEAST_LOG_VARIANCE = -7.0  # an input that normal clips all share to the last digit would outweigh every other


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangeness:
    """How badly each input was made anew."""

    likelihoods_B: Tensor  # negative log likelihood of what is present, mean over inputs: what is trained
    scores_B: Tensor  # the same without what is equal for all clips: what a clip is judged by


class Anomaly(GoalPart):
    """score = mean over present m of e_m / v_m, e_m = mean over tokens and dimensions of (x_m - g_m(b))^2, b = W z.

    z of all inputs together is squeezed into few numbers b, and every input is made of them again: clips unlike those
    of the training cannot be (autoencoders for novelty, Japkowicz et al. 1995; one code for several modalities, Ngiam
    et al. 2011). v_m is learnt with it: the loss is the likelihood of a normal distribution of one variance per input,
    so that a noisy input counts less. x_m is the preprocessed input, in deviations of the normal clips.
    """

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__(spec, z_dim)
        options = AnomalyOptions(**spec.goal_options)
        self.takes_strangest = options.over_time is OverTime.MAX
        self.squeeze = nn.Linear(z_dim, options.bottleneck)
        self.width = spec.encoder.width
        self.makers = ByFeature()
        self.log_variances = nn.ParameterDict({str(place): nn.Parameter(torch.zeros(1)) for place in _places(spec)})
        self.place_of = {name: str(place) for place, name in enumerate(spec.features)}

    def build(self, inputs: Mapping[str, tuple[int, int]]) -> None:
        """Make a small network per input that gives all of its tokens from the bottleneck."""
        for name, (tokens, dimensions) in inputs.items():
            self.makers[name] = nn.Sequential(
                nn.Linear(self.squeeze.out_features, self.width),
                nn.GELU(),
                nn.Linear(self.width, tokens * dimensions),
                nn.Unflatten(1, (tokens, dimensions)),
            )

    def read(self, out: FusionOutput, embedded: Embedded, prepared: Mapping[str, Prepared]) -> FusionOutput:
        """Return how badly each clip's inputs are made anew; a clip without any has a score of 0."""
        squeezed_BN = self.squeeze(out.z_BD)
        likelihoods, scores, present = [], [], []
        for name, maker in self.makers.items():
            part = prepared[name]
            error_BS = (maker(squeezed_BN) - part.x_BSK).square().mean(2)
            real_BS = part.real_BS
            mean_B = torch.where(real_BS, error_BS, 0.0).sum(1) / real_BS.sum(1).clamp(min=1)
            log_variance = self.log_variances[self.place_of[name]].clamp(min=LEAST_LOG_VARIANCE)
            likelihoods.append(0.5 * (mean_B * (-log_variance).exp() + log_variance))
            most_B = torch.where(real_BS, error_BS, 0.0).amax(1)
            scores.append((most_B if self.takes_strangest else mean_B) * (-log_variance).exp())
            present.append(part.present_B)
        present_BM = torch.stack(present, 1)
        count_B = present_BM.sum(1).clamp(min=1)
        answer = Strangeness(
            likelihoods_B=torch.where(present_BM, torch.stack(likelihoods, 1), 0.0).sum(1) / count_B,
            scores_B=torch.where(present_BM, torch.stack(scores, 1), 0.0).sum(1) / count_B,
        )
        return replace(out, answer=answer)

    def answers(self, out: FusionOutput) -> Tensor:
        """Return the scores, [B]; a higher one is stranger."""
        scores_B: Tensor = out.answer.scores_B
        return scores_B


def _places(spec: ModelSpec) -> range:
    return range(len(spec.inputs))
