"""What is exported: joined samples of one schema, and what each format says of the files it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmpipe.types import FeatureKind, FeatureSchema

FACT_MEANING = {
    "key": "the clip's name in every dataset of the corpus",
    "partition": "the date that the clip belongs to, `YYYY-MM-DD`",
    "source_id": "the recording's name in the corpus",
    "asset_id": "the recording, named by its content",
    "group": "clips of one group are never in two splits",
    "split": "train, val or test",
    "start_ns": "start of the clip on its asset's clock, nanoseconds",
    "end_ns": "end of the clip, nanoseconds, exclusive",
    "text": "what is said in the clip",
    "owner": "whose the recording is; empty where nothing was said",
    "licence": "the recording's licence; empty where nothing was said",
    "pii": "personal data in the recording: yes, no, unknown",
    "consent": "yes, no or unknown where a labels column says so, else the corpus's ground in words",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One clip with the values of all features; None where the clip lacks the modality."""

    key: str
    facts: Mapping[str, str | int]  # the same names and types for every clip
    labels: Mapping[str, str | None]  # the same names for every clip
    values: Mapping[str, np.ndarray | None]
    times_ns: Mapping[str, np.ndarray | None]  # of the sequences alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What every sample of an export has."""

    facts: tuple[str, ...]
    whole_numbers: frozenset[str]  # the facts that are no text
    labels: tuple[str, ...]
    features: tuple[FeatureSchema, ...]

    @property
    def sequences(self) -> tuple[FeatureSchema, ...]:
        """Return the features that have time steps."""
        return tuple(schema for schema in self.features if schema.kind is FeatureKind.SEQUENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What the card says of one column, or of one field of a sample."""

    name: str  # as the format's own tool gives it
    type: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """One file of an export."""

    name: str  # from the export's folder
    clips: int


class ExportFormat(Protocol):
    """What a format does: write the batches of one split into an existing folder."""

    def write_split(self, folder: Path, split: str, batches: Iterator[list[Joined]], shape: Shape) -> list[WrittenFile]:
        """Write every batch, each a shard; return the files in order."""

    def how_to_read(self, shape: Shape, files: Mapping[str, list[WrittenFile]]) -> str:
        """Return a program that reads the export in its folder, without mmpipe."""

    def columns(self, shape: Shape) -> list[Column]:
        """Return every column that a reader finds, in order."""


def axes_of(schema: FeatureSchema) -> str:
    """Return the axes of a value: `[T, 64]`, of a vector `[64]`."""
    return f"[T, {schema.dim}]" if schema.kind is FeatureKind.SEQUENCE else f"[{schema.dim}]"


def times_meaning(schema: FeatureSchema) -> str:
    """Say what the times of a sequence are."""
    return f"`[T]`: of every time step of `{schema.feature}` on the asset's clock, nanoseconds"


def empty_value(schema: FeatureSchema) -> np.ndarray:
    """Return what stands for a missing modality where a format has no null: an array with no numbers."""
    shape: tuple[int, ...] = (0, schema.dim) if schema.kind is FeatureKind.SEQUENCE else (0,)
    return np.empty(shape, schema.dtype)


def meta_of(sample: Joined, shape: Shape) -> dict[str, Any]:
    """Return a sample's facts as plain JSON values: the same keys and types for every clip."""
    present = {schema.feature: sample.values[schema.feature] is not None for schema in shape.features}
    return {
        "key": sample.key,
        **{name: sample.facts[name] for name in shape.facts},
        "labels": {name: sample.labels.get(name) or "" for name in shape.labels},
        "present": present,
    }
