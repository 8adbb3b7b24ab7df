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

    x_BSK: Tensor  # float32; S = 1 unless fusion or encoder read tokens
    present_B: Tensor  # bool
    mask_BS: Tensor | None = None  # bool, the real tokens, which come first; None: all are

    @property
    def real_BS(self) -> Tensor:
        """Return which tokens are real and present."""
        here_BS = self.present_B[:, None].expand(self.x_BSK.shape[:2])
        return here_BS if self.mask_BS is None else here_BS & self.mask_BS

    def take(self, rows_R: Tensor) -> Prepared:
        """Return these rows."""
        mask_RS = None if self.mask_BS is None else self.mask_BS[rows_R]
        return Prepared(x_BSK=self.x_BSK[rows_R], present_B=self.present_B[rows_R], mask_BS=mask_RS)


class Preprocess(nn.Module):
    """One feature's preprocessing. Unfitted it only pools and truncates.

    With `per_segment`, every segment becomes a token [S, K] under one shared fit; else the segments, side by side,
    become one vector [1, K]. With `config.steps`, a sequence's own steps are the tokens, and only a longer one is
    averaged. `components=0` keeps every dimension, standardised, unrotated. Before a backbone everything stays as it is
    stored: of a longer sequence of pictures some are picked evenly, of tokens the first are kept.
    """

    mean_F: Tensor
    scale_F: Tensor
    components_KF: Tensor | None

    def __init__(self, entry: InputSpec, config: EncoderConfig, *, per_segment: bool) -> None:
        super().__init__()
        self.backbone = config.backbone
        self.steps = config.num_steps if config.backbone or config.steps else 0
        if entry.kind is not FeatureKind.SEQUENCE:
            self.steps = min(self.steps, 1)
        self.segments = config.num_steps if entry.kind is FeatureKind.SEQUENCE else 1
        self.per_segment = per_segment or bool(self.steps)
        size = entry.dim if self.per_segment else entry.dim * self.segments
        components = 0 if config.backbone else config.components
        kept = min(components, MAX_TOKEN_COMPONENTS) if self.per_segment else components
        self.dim = min(kept, size) if components else size
        self.num_tokens = self.segments if self.per_segment else 1
        fitted = 0 if config.backbone else size
        self.register_buffer("mean_F", torch.zeros(fitted))
        self.register_buffer("scale_F", torch.ones(fitted))
        self.register_buffer("components_KF", torch.eye(self.dim, size) if components else None)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Prepared:
        """Preprocess a padded batch."""
        if self.backbone:
            x_BSK, mask_BS = choose_steps(x_BTD, mask_BT, self.steps, evenly=self.backbone.reads_pictures)
            return Prepared(x_BSK=x_BSK, present_B=mask_BT.any(1), mask_BS=mask_BS)
        rows_BSF, mask_BS = self.pool(x_BTD, mask_BT)
        out_BSK = self.standardise(rows_BSF)
        if self.components_KF is not None:
            out_BSK = out_BSK @ self.components_KF.double().T
        x_BSK = torch.where(mask_BS[:, :, None], out_BSK, 0.0).float()
        return Prepared(x_BSK=x_BSK, present_B=mask_BT.any(1), mask_BS=mask_BS)

    def pool(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return float64 rows [B, num_tokens, F] before standardising, and which of them are real."""
        if self.steps:
            pooled_BSD, mask_BS = pool_steps(x_BTD, mask_BT, self.steps)
            return pooled_BSD.double(), mask_BS
        pooled_BSD = pool_segments(x_BTD, mask_BT, self.segments).double()
        rows_BSF = pooled_BSD if self.per_segment else pooled_BSD.flatten(1)[:, None]
        return rows_BSF, mask_BT.any(1, keepdim=True).expand(-1, self.num_tokens)

    def standardise(self, rows_XF: Tensor) -> Tensor:
        """Return float64 rows in training-set deviations."""
        return ((rows_XF - self.mean_F.double()) * self.scale_F.double()).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)


def pool_segments(x_BTD: Tensor, mask_BT: Tensor, segments: int) -> Tensor:
    """Return the float32 means of `segments` ordered runs of the real frames, [B, S, D]; zero where there is none.

    Of n real frames segment s takes floor(s n / S) up to floor((s + 1) n / S), and at least one: with n < S frames
    are repeated in order, so every segment is real. n = S is the identity.
    """
    num_real_B1 = mask_BT.sum(1, keepdim=True)
    return _run_means(x_BTD, mask_BT, segments, num_real_B1, torch.full_like(num_real_B1, segments))


def pool_steps(x_BTD: Tensor, mask_BT: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return the real frames in order, float32 [B, S, D], and which places hold one, bool [B, S]; S = `steps`.

    A clip of n > S frames is averaged over S ordered runs, as in `pool_segments`; a shorter one stays as it is.
    """
    num_real_B1 = mask_BT.sum(1, keepdim=True)
    num_runs_B1 = num_real_B1.clamp(max=steps)
    pooled_BSD = _run_means(x_BTD, mask_BT, steps, num_real_B1, num_runs_B1.clamp(min=1))
    return pooled_BSD, torch.arange(steps, device=x_BTD.device) < num_runs_B1


def choose_steps(x_BTD: Tensor, mask_BT: Tensor, steps: int, *, evenly: bool) -> tuple[Tensor, Tensor]:
    """Return some real frames as they are, float32 [B, S, D], and which places hold one, bool [B, S]; S = `steps`.

    Of n > S frames the middles of S equal stretches, or the first S; a shorter clip is kept whole.
    """
    num_real_B1 = mask_BT.sum(1, keepdim=True)
    num_kept_B1 = num_real_B1.clamp(max=steps)
    places_S = torch.arange(steps, device=x_BTD.device)
    middles_BS = (2 * places_S + 1) * num_real_B1 // (2 * num_kept_B1.clamp(min=1))
    wanted_BS = middles_BS if evenly else places_S.expand(x_BTD.shape[0], -1)
    mask_BS = places_S < num_kept_B1
    # Real frames come first or not: in the order in which they do, each has one place. ONNX knows no stable sort.
    frames_BT = torch.arange(mask_BT.shape[1], device=x_BTD.device).expand(x_BTD.shape[0], -1)
    places_BT = torch.where(mask_BT, mask_BT.cumsum(1), num_real_B1 + (~mask_BT).cumsum(1)) - 1
    order_BT = torch.zeros_like(places_BT).scatter(1, places_BT, frames_BT)
    frames_BS = order_BT.gather(1, torch.where(mask_BS, wanted_BS, 0))
    rows_BSD = x_BTD.gather(1, frames_BS[:, :, None].expand(-1, -1, x_BTD.shape[2]))
    return torch.where(mask_BS[:, :, None], rows_BSD, 0.0).float(), mask_BS


def _run_means(x_BTD: Tensor, mask_BT: Tensor, places: int, num_real_B1: Tensor, num_runs_B1: Tensor) -> Tensor:
    """Return the means of each clip's runs: run s of r takes floor(s n / r) to floor((s + 1) n / r), at least one."""
    places_S = torch.arange(places, device=x_BTD.device)
    low_BS = places_S * num_real_B1 // num_runs_B1
    high_BS = torch.maximum((places_S + 1) * num_real_B1 // num_runs_B1, low_BS + 1)
    rank_B1T = (mask_BT.cumsum(1) - 1)[:, None]
    inside_BST = mask_BT[:, None] & (rank_B1T >= low_BS[:, :, None]) & (rank_B1T < high_BS[:, :, None])
    real_BTD = torch.where(mask_BT[:, :, None], x_BTD, 0.0).double()
    return ((inside_BST.double() @ real_BTD) / (high_BS - low_BS)[:, :, None]).float()


class PreprocessFit:
    """Fits one `Preprocess` on the training clips, batch by batch: `add` each, then `finish`."""

    def __init__(self, preprocess: Preprocess, num_clips: int) -> None:
        self._preprocess = preprocess
        size = preprocess.mean_F.numel()
        limit = max(1, min(FIT_ROWS, FIT_BYTES // (4 * max(size, 1))) // preprocess.num_tokens)
        self._stride = -(-num_clips // limit)
        self._num_clips_seen = 0
        self._num_rows = 0
        self._mean_F = torch.zeros(size, dtype=torch.float64)
        self._squares_F = torch.zeros(size, dtype=torch.float64)
        self._kept: list[Tensor] = []

    def add(self, x_BTD: Tensor, mask_BT: Tensor) -> None:
        """Take a batch of training clips into account; clips without the feature do not count."""
        if self._preprocess.backbone:
            return  # it reads what is stored, as it is
        rows_BSF, mask_BS = self._preprocess.pool(x_BTD, mask_BT)
        ordinal_B = torch.arange(len(mask_BS)) + self._num_clips_seen
        self._num_clips_seen += len(mask_BS)
        if self._preprocess.components_KF is not None:
            self._kept.append(rows_BSF[mask_BS & (ordinal_B % self._stride == 0)[:, None]].float())
        self._merge(rows_BSF[mask_BS])

    def finish(self) -> None:
        """Write the fitted numbers into the buffers; a feature that no training clip has is switched off (zeros)."""
        if self._preprocess.backbone:
            return
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
