"""What every published data set is told as: samples, what is left out of it, and how a config describes it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmpipe.errors import SampleError
from mmpipe.types import Modality, Split

# What the sets call their splits, and what a config calls them.
SPLITS = {"train": Split.TRAIN, "valid": Split.VAL, "val": Split.VAL, "dev": Split.VAL, "test": Split.TEST}
_PART = re.compile(r"[\w-][\w.-]{0,199}", re.ASCII)  # of a name that becomes a file: nothing hidden, nothing above


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a person says of a data set whose files do not say it; 0: as its files look."""

    images: Path | None = None  # folder of the pictures that its sentences name
    words: int = 0  # column, from 1, or from the end as -1
    tags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One row of a data set; `id` is its name below the corpus folder, without a suffix."""

    id: str
    split: Split | None  # None: the corpus draws it
    labels: Mapping[str, str | float | list[str]]
    features: Mapping[str, np.ndarray] = field(default_factory=dict)  # float32 [D] or [T, D], all finite
    text: str = ""  # becomes ID.txt
    array: np.ndarray | None = None  # becomes ID.npy
    picture_HWC: np.ndarray | None = None  # uint8, two or three axes; becomes ID.png
    picture_file: Path | None = None  # copied, under its own suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A row, or one modality of a row, that cannot be used, and why."""

    row: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the config of a data set says beyond its files."""

    group: str  # labels column that must not be shared between splits
    target: str  # labels column
    inputs: tuple[str, ...]  # of the model
    features: Mapping[str, Modality]  # those that come as values, by name: registered with `mmpipe feature add`
    fusions: tuple[str, ...]
    root: Path | None = None  # where their media stay; None: files are written beside the labels
    own_features: tuple[str, ...] = ()  # those that mmpipe makes from the files
    corpus_lines: tuple[str, ...] = ()  # further lines of [corpora.NAME]
    model_lines: tuple[str, ...] = ()  # further lines of [models.NAME]
    tables: tuple[str, ...] = ()  # further tables, whole
    notes: tuple[str, ...] = ()  # what a reader of its figures must know
    has_splits: bool = True  # False: its files say none


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A data set: how it is described, and its rows, which can be gone through once."""

    described: Described
    rows: Iterable[Sample | LeftOut]


def check_id(name: str) -> str:
    """Return a name that may become a file; SampleError unsafe_id where a part of it may not."""
    if not name or not all(_PART.fullmatch(part) for part in name.split("/")):
        raise SampleError("unsafe_id", f"{name[:200]!r} cannot be the name of a file")
    return name


def finite(array: np.ndarray, what: str) -> np.ndarray:
    """Return numbers as float32; SampleError nonfinite or no_numbers where they are none."""
    if array.dtype.kind not in "fiub" or not array.size:
        raise SampleError("no_numbers", f"{what} holds {array.dtype} {list(array.shape)}, which is no numbers")
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, dtype=np.float32)
    if bad := int(floats.size - np.isfinite(floats).sum()):
        raise SampleError("nonfinite", f"{what} has {bad} NaN or infinite of {floats.size} numbers")
    return floats


def files_below(folder: Path, suffix: str) -> list[Path]:
    """Return the files with a suffix, sorted; hidden ones (as `._name`, of other systems' copies) are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if name.endswith(suffix) and not name.startswith(".")]
    return sorted(found)
