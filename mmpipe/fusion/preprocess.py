"""Fixed preprocessing inside the network: ordered segment means, standardising, principal components.

The numbers are buffers, fitted once on the training clips; no gradient touches them. The arithmetic is float64, so
that neither padding nor the size of a batch shows in the float32 that comes out.
Axes: B clips, T frames, S segments, D feature dimension, F = what is standardised (D, or S * D), K components.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmpipe.config import EncoderConfig
from mmpipe.fusion.spec import InputSpec
from mmpipe.types import FeatureKind

MAX_TOKEN_COMPONENTS = 64
MAX_DEVIATIONS = 8.0  # further out a training-set deviation says nothing: a nearly constant dimension woke up
FIT_ROWS = 8192  # principal components look at no more rows; past it, at every n-th (mean and deviation see all)
FIT_BYTES = 256 << 20  # ... nor at more float32 bytes
EXACT_SIDE = 1024  # an exact eigendecomposition takes 0.3 s at this size; past it a randomised one


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A preprocessed feature; zero where it is missing."""

    x_BSK: Tensor  # float32; S = 1 unless the fusion reads tokens
    present_B: Tensor  # bool

    def take(self, rows_R: Tensor) -> Prepared:
        """Return these rows."""
        return Prepared(x_BSK=self.x_BSK[rows_R], present_B=self.present_B[rows_R])


class Preprocess(nn.Module):
    """One feature's preprocessing. Unfitted it only pools and truncates.

    With `per_segment`, every segment becomes a token [S, K] under one shared fit; else the segments, side by side,
    become one vector [1, K]. `components=0` keeps every dimension, standardised, unrotated.
    """

    mean_F: Tensor
    scale_F: Tensor
    components_KF: Tensor | None

    def __init__(self, entry: InputSpec, config: EncoderConfig, *, per_segment: bool) -> None:
        super().__init__()
        self.segments = config.segments if entry.kind is FeatureKind.SEQUENCE else 1
        self.per_segment = per_segment
        size = entry.dim if per_segment else entry.dim * self.segments
        kept = min(config.components, MAX_TOKEN_COMPONENTS) if per_segment else config.components
        self.dim = min(kept, size) if config.components else size
        self.num_tokens = self.segments if per_segment else 1
        self.register_buffer("mean_F", torch.zeros(size))
        self.register_buffer("scale_F", torch.ones(size))
        self.register_buffer("components_KF", torch.eye(self.dim, size) if config.components else None)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Prepared:
        """Preprocess a padded batch."""
        rows_BSF, present_B = self.pool(x_BTD, mask_BT)
        out_BSK = self.standardise(rows_BSF)
        if self.components_KF is not None:
            out_BSK = out_BSK @ self.components_KF.double().T
        return Prepared(x_BSK=torch.where(present_B[:, None, None], out_BSK, 0.0).float(), present_B=present_B)

    def pool(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return float64 rows [B, num_tokens, F] before standardising, and which clips have the feature."""
        pooled_BSD = pool_segments(x_BTD, mask_BT, self.segments).double()
        return pooled_BSD if self.per_segment else pooled_BSD.flatten(1)[:, None], mask_BT.any(1)

    def standardise(self, rows_XF: Tensor) -> Tensor:
        """Return float64 rows in training-set deviations."""
        return ((rows_XF - self.mean_F.double()) * self.scale_F.double()).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)


def pool_segments(x_BTD: Tensor, mask_BT: Tensor, segments: int) -> Tensor:
    """Return the float32 means of `segments` ordered runs of the real frames, [B, S, D]; zero where there is none.

    Of n real frames segment s takes floor(s n / S) up to floor((s + 1) n / S), and at least one: with n < S frames
    are repeated in order, so every segment is real. n = S is the identity.
    """
    num_real_B1 = mask_BT.sum(1, keepdim=True)
    steps_S = torch.arange(segments, device=x_BTD.device)
    low_BS = steps_S * num_real_B1 // segments
    high_BS = torch.maximum((steps_S + 1) * num_real_B1 // segments, low_BS + 1)
    rank_B1T = (mask_BT.cumsum(1) - 1)[:, None]
    inside_BST = mask_BT[:, None] & (rank_B1T >= low_BS[:, :, None]) & (rank_B1T < high_BS[:, :, None])
    real_BTD = torch.where(mask_BT[:, :, None], x_BTD, 0.0).double()
    return ((inside_BST.double() @ real_BTD) / (high_BS - low_BS)[:, :, None]).float()


class PreprocessFit:
    """Fits one `Preprocess` on the training clips, batch by batch: `add` each, then `finish`."""

    def __init__(self, preprocess: Preprocess, num_clips: int) -> None:
        self._preprocess = preprocess
        size = preprocess.mean_F.numel()
        limit = max(1, min(FIT_ROWS, FIT_BYTES // (4 * size)) // preprocess.num_tokens)
        self._stride = -(-num_clips // limit)
        self._num_clips_seen = 0
        self._num_rows = 0
        self._mean_F = torch.zeros(size, dtype=torch.float64)
        self._squares_F = torch.zeros(size, dtype=torch.float64)
        self._kept: list[Tensor] = []

    def add(self, x_BTD: Tensor, mask_BT: Tensor) -> None:
        """Take a batch of training clips into account; clips without the feature do not count."""
        rows_BSF, present_B = self._preprocess.pool(x_BTD, mask_BT)
        ordinal_B = torch.arange(len(present_B)) + self._num_clips_seen
        self._num_clips_seen += len(present_B)
        if self._preprocess.components_KF is not None:
            self._kept.append(rows_BSF[present_B & (ordinal_B % self._stride == 0)].flatten(0, 1).float())
        self._merge(rows_BSF[present_B].flatten(0, 1))

    def finish(self) -> None:
        """Write the fitted numbers into the buffers; a feature that no training clip has is switched off (zeros)."""
        deviation_F = (self._squares_F / max(self._num_rows, 1)).sqrt()
        tiny_F = 1e-6 * self._mean_F.abs().clamp(min=1e-6)  # constant but for rounding: nothing was learned about it
        scale_F = torch.where(deviation_F > tiny_F, 1 / deviation_F.clamp(min=1e-300), 0.0)
        self._preprocess.mean_F.copy_(self._mean_F)
        self._preprocess.scale_F.copy_(scale_F)
        if self._preprocess.components_KF is not None and self._num_rows:
            rows_NF = self._preprocess.standardise(torch.cat(self._kept).double())
            self._preprocess.components_KF.copy_(principal_components(rows_NF, self._preprocess.dim))

    def _merge(self, rows_NF: Tensor) -> None:
        """Update mean and squared deviations by a batch (Chan, Golub, LeVeque 1979): exact where the mean is large."""
        if not len(rows_NF):
            return
        mean_F = rows_NF.mean(0)
        total, delta_F = self._num_rows + len(rows_NF), mean_F - self._mean_F
        self._squares_F += (rows_NF - mean_F).square().sum(0) + delta_F.square() * self._num_rows * len(rows_NF) / total
        self._mean_F += delta_F * len(rows_NF) / total
        self._num_rows = total


def principal_components(rows_NF: Tensor, num_components: int) -> Tensor:
    """Return the leading principal axes [K, F] in float64, deterministic in sign, zero past the rank of the rows.

    All are divided by one number that makes the mean square of the projections 1; their ratios stay, unwhitened.
    """
    centred_NF = rows_NF - rows_NF.mean(0)
    axes_KF, variance_K = (_exact if min(rows_NF.shape) <= EXACT_SIDE else _randomised)(centred_NF, num_components)
    real_K = variance_K > 1e-10 * variance_K.max().clamp(min=1e-300)
    sign_K1 = axes_KF.gather(1, axes_KF.abs().argmax(1, keepdim=True)).sign()
    size = (variance_K[real_K].sum() / max(int(real_K.sum()), 1)).sqrt().clamp(min=1e-12)
    out_KF = torch.zeros(num_components, rows_NF.shape[1], dtype=torch.float64)
    out_KF[: len(axes_KF)] = torch.where(real_K[:, None], axes_KF * sign_K1 / size, 0.0)
    return out_KF


def _exact(centred_NF: Tensor, num_components: int) -> tuple[Tensor, Tensor]:
    """Return axes and variances from the smaller of the two Gram matrices."""
    num_rows, size = centred_NF.shape
    if size <= num_rows:
        variance, axes = torch.linalg.eigh(centred_NF.T @ centred_NF / num_rows)
        return axes.T.flip(0)[:num_components], variance.flip(0)[:num_components]
    variance, left = torch.linalg.eigh(centred_NF @ centred_NF.T / num_rows)
    variance, left = variance.flip(0)[:num_components], left.flip(1)[:, :num_components]
    return nn.functional.normalize(left.T @ centred_NF, dim=1), variance


def _randomised(centred_NF: Tensor, num_components: int) -> tuple[Tensor, Tensor]:
    """Return near-exact axes and variances by subspace iteration from a fixed start (Halko et al. 2011, alg. 4.4)."""
    generator = torch.Generator().manual_seed(0)
    width = min(num_components + 16, min(centred_NF.shape))
    basis_FQ = torch.randn(centred_NF.shape[1], width, generator=generator, dtype=torch.float64)
    for _ in range(5):
        basis_NQ = torch.linalg.qr(centred_NF @ basis_FQ).Q
        basis_FQ = torch.linalg.qr(centred_NF.T @ basis_NQ).Q
    _, singular, axes_QF = torch.linalg.svd(centred_NF @ basis_FQ, full_matrices=False)
    return (axes_QF @ basis_FQ.T)[:num_components], singular[:num_components].square() / len(centred_NF)
