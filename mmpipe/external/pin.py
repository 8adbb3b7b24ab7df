"""A pin: what another team's dataset was, to the byte, when somebody decided to take it in."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json
from mmpipe.types import FeatureKind, Modality

PIN_NAME = re.compile(r"external-(\d{6})\.json")


class SourceFormat(StrEnum):
    """How their values lie in their files."""

    PARQUET = "parquet"
    WEBDATASET = "webdataset"
    NPY_FILES = "npy-files"  # one array per row, the key in the name
    NPY_MATRIX = "npy-matrix"  # one array of all rows, the keys in a file beside it


class MatchBy(StrEnum):
    """What their keys name."""

    CLIP = "clip"  # our clip keys
    SOURCE = "source"  # corpus-relative names of recordings, without the suffix
    STEM = "stem"  # the last part of such a name


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """One file of theirs; `name` is relative to the URI."""

    name: str
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What their values look like; `dtype` is theirs, the store holds float32."""

    kind: FeatureKind
    dim: int
    dtype: str

    @property
    def is_rounded(self) -> bool:
        """Say whether float32 cannot hold every value of theirs."""
        return self.dtype == "float64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of their bytes are values, and which are keys."""

    format: SourceFormat
    key: str = ""  # Parquet: the column; npy files: a pattern over the name, with a group `key`
    columns: tuple[str, ...] = ()  # Parquet: the columns of the value; WebDataset: the member's name after the key
    keys_file: str = ""  # npy matrix: the file with one key per row


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRule:
    """How their keys are joined to our clips."""

    by: MatchBy
    pattern: str = ""  # a regular expression over their key, with a group `key`; "" takes the key as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Everything that decides the values of an external feature; its digest is the feature's fingerprint."""

    feature: str  # NAME@1
    uri: str
    selection: Selection
    match: MatchRule
    modality: Modality
    shape: Shape
    rows: int
    files: tuple[PinnedFile, ...]  # sorted by name

    def to_bytes(self) -> bytes:
        """Return the pin as it lies in the store."""
        return canonical_json(asdict(self))

    @property
    def digest(self) -> str:
        """Return the sha256 of the pin's bytes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def sizes(self) -> dict[str, int]:
        """Return the size of each file by name."""
        return {file.name: file.nbytes for file in self.files}


def pin_name(number: int) -> str:
    """Return the file name of a pin, in the folder of its feature."""
    return f"external-{number:06d}.json"


def parse_pin(data: bytes, where: str) -> Pin:
    """Read a pin; raise StoreError where it is damaged."""
    try:
        table: dict[str, Any] = json.loads(data)
        selection, shape, match = table["selection"], table["shape"], table["match"]
        pin = Pin(**table)
        return replace(
            pin,
            modality=Modality(pin.modality),
            selection=Selection(
                **{**selection, "format": SourceFormat(selection["format"]), "columns": tuple(selection["columns"])}
            ),
            match=MatchRule(**{**match, "by": MatchBy(match["by"])}),
            shape=Shape(**{**shape, "kind": FeatureKind(shape["kind"])}),
            files=tuple(PinnedFile(**file) for file in table["files"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where} is damaged: {error}. Register it again: mmpipe feature refresh") from error
