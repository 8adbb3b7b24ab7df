"""Give a network what stands in for a modality that a clip lacks, if it earns its place."""

from __future__ import annotations

import copy

import numpy as np

from mmpipe.config import Imputation
from mmpipe.errors import ConfigError
from mmpipe.fusion.imputers.base import Imputer
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.data import ClipSource, prepare_data
from mmpipe.train.deterministic import deterministic
from mmpipe.train.imputation.compare import fit_imputer
from mmpipe.train.imputation.observed import Observed, observe
from mmpipe.train.imputation.report import ImputationReport
from mmpipe.types import FeatureKind, digest_of

MOST_CLIPS = 20_000  # that an imputer learns from, and as many that it is judged by; of more, every n-th
SEED = 0


class ImputerFits:
    """Fits imputers, each once: networks that see the same clips in the same way share one.

    `groups_R` holds the group of every row of the source; without it each clip is a group of its own.
    """

    def __init__(self, groups_R: np.ndarray | None = None) -> None:
        self._groups_R = groups_R
        self._made: dict[str, tuple[Imputer | None, ImputationReport]] = {}

    def give(
        self, model: FusionModel, source: ClipSource, train_rows: np.ndarray, val_rows: np.ndarray, method: Imputation
    ) -> ImputationReport | None:
        """Fit on the training clips, judge on the validation clips; the network has the imputer where it is kept.

        Return None where none is asked for, or there is nothing to impute from.
        """
        if method is Imputation.OFF or len(model.spec.inputs) < 2:
            return None
        check_imputable(model.spec)
        train, judged = (self._observed(model, source, rows) for rows in (train_rows, val_rows))
        key = digest_of("imputer", method, _digest(train), _digest(judged))
        if key not in self._made:
            with deterministic(1):
                self._made[key] = fit_imputer(method, train, judged, SEED)
        imputer, report = self._made[key]
        if imputer is not None:
            model.impute_by(copy.deepcopy(imputer))  # networks may go to devices of their own
        return report

    def _observed(self, model: FusionModel, source: ClipSource, rows: np.ndarray) -> Observed:
        """Return clips as the network sees them."""
        rows = rows[:: max(1, -(-len(rows) // MOST_CLIPS))]
        groups = rows.astype(str) if self._groups_R is None else self._groups_R[rows]
        if not len(rows):
            return Observed.none(model.spec.features, model.prepared_widths)
        return observe(prepare_data(model, source, rows).take(np.arange(len(rows))), groups.tolist())


def check_imputable(spec: ModelSpec) -> None:
    """Raise ConfigError for an input that comes as other than a fixed number of values."""
    for entry in spec.inputs:
        encoder = spec.encoder_of(entry.feature)
        if encoder.backbone or (encoder.steps and entry.kind is FeatureKind.SEQUENCE):
            what = "a backbone" if encoder.backbone else "steps"
            raise ConfigError(
                f"train.impute fills in vectors, and {entry.feature} has {what}: it comes as pictures, ids or a "
                "varying number of steps. Use `segments` for it, or set train.impute = 'off'"
            )


def _digest(data: Observed) -> str:
    tensors = (tensor.numpy().tobytes() for tensor in (data.x_NF, data.present_NM))
    return digest_of(*data.features, *map(str, data.widths), *tensors, *data.groups_N.tolist())
