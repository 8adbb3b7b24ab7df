"""The guesses that a generator must beat: the mean, a linear one, and the mean of the nearest clips."""

from __future__ import annotations

import numpy as np
import torch

from mmpipe.fusion.imputers.base import known_sets
from mmpipe.fusion.imputers.mean import MeanImputer
from mmpipe.fusion.imputers.nearest import NearestImputer
from mmpipe.fusion.imputers.ridge import RidgeImputer
from mmpipe.train.imputation.observed import Observed

PENALTIES = (1.0, 10.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)  # on numbers of mean square 1
NEIGHBOURS = (1, 3, 5, 10, 20, 40, 80, 160)
MOST_ROWS = 4096  # training clips that the nearest are looked for in; of more, every n-th


def fit_mean(data: Observed) -> MeanImputer:
    """Return the mean of each modality over the clips that have it."""
    imputer = MeanImputer(data.widths)
    for number in range(len(data.widths)):
        here_N = data.present_NM[:, number]
        if here_N.any():
            columns = data.columns(number)
            imputer.mean_F[columns] = data.x_NF[here_N][:, columns].double().mean(0).float()
    return imputer


def fit_ridge(data: Observed, penalty: float) -> RidgeImputer:
    """Fit min_W |h_missing - b - W h_present|^2 + penalty |W|^2 for every set of modalities that may be there.

    Each is fitted on the clips that have the set and the modality that is guessed; where there is none, the mean.
    """
    from sklearn.linear_model import Ridge

    imputer = RidgeImputer(data.widths)
    mean_F = fit_mean(data).mean_F
    x_NF, present_NM = data.x_NF.double().numpy(), data.present_NM.numpy()
    for row, known in enumerate(known_sets(len(data.widths))):
        seen = np.concatenate([np.r_[data.columns(m)] for m, here in enumerate(known) if here])
        for target in (m for m, here in enumerate(known) if not here):
            columns = data.columns(target)
            has_N = present_NM[:, [m for m, here in enumerate(known) if here or m == target]].all(1)
            imputer.bias_PF[row, columns] = mean_F[columns]
            if has_N.sum() < 2:
                continue
            fitted = Ridge(alpha=penalty).fit(x_NF[has_N][:, seen], x_NF[has_N][:, columns])
            imputer.weights_PFF[row][seen, columns] = torch.from_numpy(np.atleast_2d(fitted.coef_).T).float()
            imputer.bias_PF[row, columns] = torch.from_numpy(np.atleast_1d(fitted.intercept_)).float()
    return imputer


def fit_nearest(data: Observed, neighbours: int) -> NearestImputer:
    """Keep the training clips, or an even choice of them, to look for neighbours in."""
    rows = np.arange(len(data))[:: -(-len(data) // MOST_ROWS)]
    imputer = NearestImputer(data.widths, rows=len(rows), neighbours=min(neighbours, len(rows)))
    imputer.rows_NF.copy_(data.x_NF[rows])
    imputer.present_NM.copy_(data.present_NM[rows])
    return imputer
