"""A target that is a list in one cell: labels, or users."""

from __future__ import annotations

import json

import numpy as np
import polars as pl

from mmpipe.config import ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.steps.goals.base import Targets
from mmpipe.steps.goals.column import labelled_rows


def read_lists(model: ModelConfig, spine: pl.DataFrame, separator: str, none: str, what: str) -> Targets:
    """Return 1 where a clip's list has a name, float32 [N, K]; `none` stands for an empty list.

    Raise ConfigError where no clip has a name, or where every clip has every one.
    """
    rows_N, values = labelled_rows(model, spine)
    lists = [[] if value in (none, "[]") else _names(value, separator) for value in values]
    names = tuple(sorted({name for one in lists for name in one}))
    place = {name: number for number, name in enumerate(names)}
    has_NK = np.zeros((len(lists), len(names)), dtype=np.float32)
    for row, one in enumerate(lists):
        has_NK[row, [place[name] for name in one]] = 1
    if not names or has_NK.all():
        raise ConfigError(
            f"the target {model.target!r} tells {len(lists)} clips not apart: "
            + (f"all have all of the {what} {list(names)}" if names else f"none has any of the {what}")
            + ". Choose another `target`, or another goal_options.separator."
        )
    return Targets(rows_N=rows_N, values_N=has_NK, names=names, told=("",) * len(rows_N))


def _names(value: str, separator: str) -> list[str]:
    """Return the names in a cell: a list of the labels table, which is kept as JSON, or a text with separators."""
    parts = _json_list(value) if value.startswith("[") else None
    return sorted({name for part in (parts or value.split(separator)) if (name := part.strip())})


def _json_list(value: str) -> list[str] | None:
    try:
        told = json.loads(value)
    except ValueError:
        return None  # a name that begins with a bracket
    return [str(one) for one in told] if isinstance(told, list) else None
