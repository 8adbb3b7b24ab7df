"""Linear canonical correlation analysis: what a line can find that two modalities have in common.

Axes: N clips, P and Q dimensions of the two sides, R and S their ranks, K shared dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the mean variance of a side's real directions
DIMENSIONS = (8, 16, 32, 64, 128)
SMALLEST_SHARE = 1e-10  # of the largest singular value: below it a direction is rounding

# From both sides' embeddings [N, K] of clips to how well they find each other: more is better.
Score = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """From one side's values to the shared space."""

    mean_P: np.ndarray
    axes_PK: np.ndarray

    def embed(self, x_NP: np.ndarray) -> np.ndarray:
        """Return unit vectors [N, K]; zeros stay zeros."""
        z_NK = (np.asarray(x_NP, dtype=np.float64) - self.mean_P) @ self.axes_PK
        return z_NK / np.maximum(np.linalg.norm(z_NK, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cca:
    """A fitted pair of sides."""

    first: Side
    second: Side
    correlations_K: np.ndarray  # of the shared dimensions on the clips of the fit, shrunk by the ridge
    ridge: float


def fit_cca(x_NP: np.ndarray, y_NQ: np.ndarray, *, ridge: float, dimensions: int) -> Cca:
    """Fit the regularised CCA of Vinod 1976: T = Sxx^-1/2 Sxy Syy^-1/2 = U diag(rho) V^T, with S + ridge on it.

    The ridge is in units of the mean variance of a side's real directions. Each side's axes are Sxx^-1/2 U times
    sqrt(rho), so that a dot product weighs what the sides share by how much they share it (Gong et al. 2014).
    """
    return _first(_fit(_Spectrum.of(x_NP), _Spectrum.of(y_NQ), ridge), dimensions)


def choose_cca(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    score: Score,
    *,
    ridges: Sequence[float] = RIDGES,
    dimensions: Sequence[int] = DIMENSIONS,
) -> Cca:
    """Fit on one set of clips with every ridge and size; return what scores best on another, of equals the first."""
    x, y = (_Spectrum.of(side) for side in train)
    most = min(len(x.size_R), len(y.size_R))
    sizes = sorted({max(1, min(size, most)) for size in dimensions})
    fits = [_first(whole, size) for whole in (_fit(x, y, ridge) for ridge in ridges) for size in sizes]
    return max(fits, key=lambda fit: score(fit.first.embed(val[0]), fit.second.embed(val[1])))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spectrum:
    """One side by its thin singular values: exact, as the covariance of two sides lies in what both span."""

    mean_P: np.ndarray
    left_NR: np.ndarray
    size_R: np.ndarray
    rows_RP: np.ndarray

    @classmethod
    def of(cls, x_NP: np.ndarray) -> _Spectrum:
        x_NP = np.asarray(x_NP, dtype=np.float64)
        mean_P = x_NP.mean(axis=0)
        left_NR, size_R, rows_RP = np.linalg.svd(x_NP - mean_P, full_matrices=False)
        real_R = size_R > SMALLEST_SHARE * max(size_R.max(initial=0.0), np.finfo(float).tiny)
        return cls(mean_P=mean_P, left_NR=left_NR[:, real_R], size_R=size_R[real_R], rows_RP=rows_RP[real_R])

    def root_R(self, ridge: float) -> np.ndarray:
        """Return the deviation of each real direction, with the ridge on its variance."""
        variance_R = self.size_R**2 / len(self.left_NR)
        return np.asarray(np.sqrt(variance_R + ridge * (variance_R.mean() if len(variance_R) else 1.0)))


def _fit(x: _Spectrum, y: _Spectrum, ridge: float) -> Cca:
    """Fit all shared dimensions."""
    root_R, root_S = x.root_R(ridge), y.root_R(ridge)
    shared_RS = (x.size_R / root_R)[:, None] * (x.left_NR.T @ y.left_NR) * (y.size_R / root_S) / len(x.left_NR)
    left_RK, rho_K, right_KS = np.linalg.svd(shared_RS, full_matrices=False)
    weight_K = np.sqrt(rho_K)
    return Cca(
        first=Side(mean_P=x.mean_P, axes_PK=(x.rows_RP.T / root_R) @ left_RK * weight_K),
        second=Side(mean_P=y.mean_P, axes_PK=(y.rows_RP.T / root_S) @ right_KS.T * weight_K),
        correlations_K=rho_K,
        ridge=ridge,
    )


def _first(fit: Cca, dimensions: int) -> Cca:
    """Return a fit with the shared dimensions of the highest correlation alone."""
    return Cca(
        first=Side(mean_P=fit.first.mean_P, axes_PK=fit.first.axes_PK[:, :dimensions]),
        second=Side(mean_P=fit.second.mean_P, axes_PK=fit.second.axes_PK[:, :dimensions]),
        correlations_K=fit.correlations_K[:dimensions],
        ridge=fit.ridge,
    )
