"""What stands in for a missing modality, from a model's settings to what a version says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.config import Imputation, ModelConfig
from mmpipe.io import canonical_json, replace_bytes
from mmpipe.steps.train.training_set import TrainingSet

REPORT_NAME = "imputation.json"  # beside the weights, and so in the version


def imputer_fits(data: TrainingSet) -> Any:
    """Return who fits imputers on a training set's clips, clustered by its groups."""
    from mmpipe.train.imputation.network import ImputerFits

    groups_R = np.full(len(data.reader), "", dtype=object)
    groups_R[data.reader_rows_N] = data.groups
    return ImputerFits(groups_R)


def check_imputation(model: ModelConfig, spec: Any) -> None:
    """Raise ConfigError where an imputer is asked for that the inputs do not allow."""
    if model.train.impute is not Imputation.OFF and len(spec.inputs) > 1:
        from mmpipe.train.imputation.network import check_imputable

        check_imputable(spec)


def write_imputation(weights: Path, report: Any) -> None:
    """Write what was found about an imputer beside the weights of its network; nothing where none was asked for."""
    if report:
        replace_bytes(weights / REPORT_NAME, canonical_json(report.as_json()))


def read_imputation(weights: Path) -> dict[str, Any]:
    """Return what was found about the imputer of a network; empty where none was asked for."""
    file = weights / REPORT_NAME
    found: dict[str, Any] = json.loads(file.read_bytes()) if file.is_file() else {}
    return found


def imputation_limits(weights: Path) -> list[str]:
    """Return what a card says of the imputer."""
    found = read_imputation(weights)
    if not found:
        return []
    told = [f"A missing modality of a clip and its imputer: {found['reason']}."]
    if not found["kept"]:
        return [f"{told[0]} A missing modality is left out, as without it."]
    if found["wanted"] == Imputation.KNN:
        told.append(
            "Its imputer holds preprocessed numbers of training clips as they are. Where one of them is to be "
            "forgotten, train and release again, and remove this version."
        )
    return told
