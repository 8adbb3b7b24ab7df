"""The values that clips have in a column of the labels table."""

from __future__ import annotations

import json

import numpy as np
import polars as pl

from mmpipe.config import ModelConfig
from mmpipe.errors import ConfigError

CUE_TARGET = "cue"


def column_values(spine: pl.DataFrame, column: str) -> list[str]:
    """Return each clip's value of a column, "" where it has none; `cue` is the text of the cue."""
    if column == CUE_TARGET:
        return [text.strip() for text in spine["text"]]
    return [json.loads(labels).get(column, "").strip() for labels in spine["labels"]]


def labelled_rows(model: ModelConfig, spine: pl.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return which rows have a value of the target, and those values; raise ConfigError where none has."""
    values = column_values(spine, model.target)
    rows_N = np.array([row for row, value in enumerate(values) if value], dtype=np.int64)
    require_values(model, spine, model.target, len(rows_N))
    return rows_N, [values[row] for row in rows_N]


def require_values(model: ModelConfig, spine: pl.DataFrame, column: str, num_found: int) -> None:
    """Raise ConfigError where no clip has a value, and say which columns there are."""
    if not len(spine):
        raise ConfigError(f"the corpus {model.corpus!r} has no clips yet. Run: mmpipe ingest --corpus {model.corpus}")
    if num_found:
        return
    known = sorted({name for labels in spine["labels"].head(1000) for name in json.loads(labels)})
    hint = f"known columns are: {known}" if known else "the corpus has no labels table: set `labels` of the corpus"
    raise ConfigError(f"none of {len(spine)} clips has a value for the target {column!r}; {hint}")
