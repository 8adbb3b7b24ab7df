"""A product of the modalities' decisions in which each may be doubted, clip by clip."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from mmpipe.fusion.base import Embedded, Fusion, require_fused, weights_by_feature
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.registry import register_fusion
from mmpipe.fusion.spec import ModelSpec

FIRST_TRUST = 2.0  # log odds that a modality says something, before any validation clip was seen: 0.88
LARGEST_LOG_TEMPERATURE = 3.0  # a factor of 20 either way, as in the calibration of a whole model
LARGEST_ENERGY = 11.0  # in log K; further out says the same
SMALLEST_SQUARE = 1e-6
EVIDENCE_SCALE = 3.0  # under the normal prior of the fit: a clip's evidence may turn trust into doubt


@register_fusion("reliability")
class Reliability(Fusion):
    """p(y) ~ prod_m (r_m p_m(y) + (1 - r_m) / K) over the present, with

    p_m = softmax(l_m / T_m) and r_m = sigmoid(2 + c_m + d_m . e_m).

    With chance r_m modality m speaks of the clip; else it is noise, and says nothing about it. Multiplied out this is a
    mixture of the product of all experts, of each expert alone, and of ignorance: where two are sure of different
    things, or one is doubted, it selects; else it multiplies. r_m is read off the clip: e_m holds the certainty
    1 - H(p_m) / log K, the energy (log sum exp l_m - mean l_m) / log K, and log mean h_m^2 of the embedding, shifted
    and scaled to a few units. The weights are the chances that m spoke, given all that was said, made to add up to 1.

    The experts learn each from its own cross-entropy, as if alone: log p passes gradients on to l_m as the plain
    product does, softmax(log p) - y, and the extra loss adds softmax(l_m) - softmax(log p). So each also keeps its own
    best epoch: the one in which the fusion, with the others missing, has the lowest loss on validation clips.

    A product of experts (Hinton 2002) with the stream weighting of audio-visual speech recognition: entropy as
    reliability (Gurban, Thiran 2009), energy (Zhang et al. 2023, QMF), weights fitted on held-out clips (Heckmann,
    Berthommier, Kroschel 2002). T, c, d are fitted on validation clips: on training clips every expert looks right.

    Use it where modalities err independently and one is sometimes bad; reliability cannot be learned unless validation
    clips show it being lost.
    """

    decides = True
    experts = True
    mixing = ("log_temperature_M", "trust_M", "evidence_ME")

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        require_fused(spec)
        self.spec = spec
        self.z_dim = spec.encoder.width
        self.log_num_classes = math.log(len(spec.classes))
        num_inputs = len(spec.inputs)
        self.log_temperature_M = nn.Parameter(torch.zeros(num_inputs))
        self.trust_M = nn.Parameter(torch.zeros(num_inputs))
        self.evidence_ME = nn.Parameter(torch.zeros(num_inputs, 3))

    def forward(self, embedded: Embedded) -> FusionOutput:
        """Multiply what is present, each with its doubt."""
        present_BM, logits_BMK = embedded.present_BM(), embedded.logits_BMK()
        decided_BK, spoke_BM = self._decide(embedded.vectors_BMD().detach(), logits_BMK.detach(), present_BM)
        said_BK = (logits_BMK * present_BM[:, :, None]).sum(1)
        logits_BK = decided_BK + (said_BK - said_BK.detach())
        shares_BM = spoke_BM / spoke_BM.sum(1, keepdim=True).clamp(min=torch.finfo(spoke_BM.dtype).tiny)
        z_BD = (shares_BM[:, :, None] * embedded.vectors_BMD()).sum(1)
        return FusionOutput(
            z_BD=z_BD,
            logits_BK=logits_BK,
            weights=weights_by_feature(self.spec, shares_BM),
            aux={"experts": _distillation(logits_BK, logits_BMK, present_BM)},
        )

    def _decide(self, h_BMD: Tensor, logits_BMK: Tensor, present_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(y), [B, K], and the chance that each modality spoke, [B, M], 0 where it is missing."""
        log_temperature_M, trust_M, evidence_ME = (self._fitted(name) for name in self.mixing)
        coldness_M1 = (-LARGEST_LOG_TEMPERATURE * (log_temperature_M / LARGEST_LOG_TEMPERATURE).tanh()).exp()[:, None]
        log_p_BMK = (logits_BMK * coldness_M1).log_softmax(2)
        evidence_BME = self.evidence(h_BMD, logits_BMK, log_p_BMK)
        trust_BM = FIRST_TRUST + trust_M + (evidence_BME * evidence_ME).sum(2)
        doubted_BMK = torch.logaddexp(
            log_p_BMK + logsigmoid(trust_BM)[:, :, None], logsigmoid(-trust_BM)[:, :, None] - self.log_num_classes
        )
        decided_BK = torch.where(present_BM[:, :, None], doubted_BMK, 0.0).sum(1).log_softmax(1)
        spoke_BMK = (trust_BM[:, :, None] + log_p_BMK + self.log_num_classes).sigmoid()  # given that y is the class
        return decided_BK, (decided_BK.exp()[:, None] * spoke_BMK).sum(2) * present_BM

    def _fitted(self, name: str) -> Tensor:
        """Return a parameter that only learns from validation clips, where the network is in evaluation mode."""
        parameter: Tensor = getattr(self, name)
        return parameter.detach() + 0 * parameter if self.training else parameter

    def evidence(self, h_BMD: Tensor, logits_BMK: Tensor, log_p_BMK: Tensor) -> Tensor:
        """Return certainty, energy and size, [B, M, 3]."""
        certainty_BM = 1 + (log_p_BMK.exp() * log_p_BMK).sum(2) / self.log_num_classes
        energy_BM = (logits_BMK.logsumexp(2) - logits_BMK.mean(2)) / self.log_num_classes
        size_BM = h_BMD.square().mean(2).clamp(min=SMALLEST_SQUARE).log()
        bounded_BM = energy_BM.clamp(max=LARGEST_ENERGY)
        return EVIDENCE_SCALE * torch.stack([2 * certainty_BM - 1, bounded_BM / 2 - 1.5, size_BM / 2], 2)


def _distillation(logits_BK: Tensor, logits_BMK: Tensor, present_BM: Tensor) -> Tensor:
    """Return the cross-entropy of every expert that is present with what all say together, summed over modalities."""
    losses_BM = -(logits_BK.detach().softmax(1)[:, None] * logits_BMK.log_softmax(2)).sum(2)
    return (losses_BM * present_BM).sum(1).mean()
