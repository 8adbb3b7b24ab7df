"""What a shard is while it is being written: its place, its rows, the files that are staged for a commit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.errors import SampleError, StoreError
from mmpipe.io import sha256_file
from mmpipe.store.manifest import FileEntry, ShardStatistics
from mmpipe.store.schema import schema_digest, schema_to_json
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue

# No dot: WebDataset splits a member's name at the first one, and keys that differ after it would merge.
_KEY = re.compile(r"[a-z0-9_-]{1,64}")
AllFinite = Callable[[np.ndarray], bool]  # says whether no number of an array is NaN or infinite
_HALF_EXPONENT = 0x7C00  # the bits of a half that are all set in infinity and NaN


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpec:
    """Which shard of which feature is written, and by what."""

    corpus: str
    partition: str
    number: int
    schema: FeatureSchema
    fingerprint: str

    @property
    def stem(self) -> str:
        """Return the shard's name in the view, without the suffix."""
        return f"{self.number:06d}"

    def facts(self) -> dict[str, Any]:
        """Return what every file of the shard says about itself, since files get copied."""
        return {
            "corpus": self.corpus,
            "fingerprint": self.fingerprint,
            "format": 1,
            "partition": self.partition,
            "schema": schema_to_json(self.schema),
            "schema_digest": schema_digest(self.schema),
            "shard": self.number,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """A written file that no reader sees yet, and the entry that will name it."""

    entry: FileEntry
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedShard:
    """What a writer hands over: no file where no clip had a value."""

    files: tuple[StagedFile, ...]
    samples: int
    statistics: ShardStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class RawValue:
    """A value as another shard holds it, to be copied where its stream, range and fingerprint are the same."""

    value: FeatureValue
    fingerprint: str
    sha256: str  # of the array's bytes; "" where the shard keeps none


def stage_file(path: Path, role: str, name: str, sha256: str = "") -> StagedFile:
    """Describe a finished file; its digest is read back from the disk where the writer could not keep one."""
    entry = FileEntry(role=role, name=name, nbytes=path.stat().st_size, sha256=sha256 or sha256_file(path))
    return StagedFile(entry=entry, path=path)


class RowGuard:
    """Hold what is true of every row: keys unique and safe, ordinals rising, values as the schema says."""

    def __init__(self, schema: FeatureSchema, all_finite: AllFinite | None = None) -> None:
        """Start before the first row; `all_finite` is asked last, of a row that is right in all else."""
        self._schema = schema
        self._all_finite = all_finite or _all_finite
        self._keys: set[str] = set()
        self._last_ordinal = -1

    def accept(self, key: str, ordinal: int, value: FeatureValue) -> np.ndarray:
        """Return the value's array ready to write; a SampleError leaves the shard as it was."""
        assert _KEY.fullmatch(key), f"a key is [a-z0-9_-]{{1,64}}, got {key!r}"
        assert key not in self._keys, f"the key {key} comes twice"
        assert ordinal > self._last_ordinal, f"ordinal {ordinal} of {key} comes after {self._last_ordinal}"
        array = check_value(self._schema, value, self._all_finite)
        self._keys.add(key)
        self._last_ordinal = ordinal
        return array


def check_value(schema: FeatureSchema, value: FeatureValue, all_finite: AllFinite | None = None) -> np.ndarray:
    """Return the array, C-contiguous; raise SampleError where it is not what the schema says."""
    array = value.array
    if array.dtype != np.dtype(schema.dtype):
        raise SampleError("wrong_dtype", f"{schema.feature} gives {schema.dtype}, got {array.dtype}")
    if schema.kind is FeatureKind.SEQUENCE:
        _check_sequence(schema, value)
    elif array.shape != (schema.dim,):
        raise SampleError("wrong_shape", f"{schema.feature} gives [{schema.dim}], got {list(array.shape)}")
    if not (all_finite or _all_finite)(array):
        count = int(array.size - np.isfinite(array).sum())
        raise SampleError("nonfinite", f"{schema.feature} has {count} NaN or infinite of {array.size} numbers")
    return np.ascontiguousarray(array)


def check_raw(spec: ShardSpec, raw: RawValue) -> FeatureValue:
    """Return a value to reuse; refuse one that another extractor made or that changed on the disk."""
    assert raw.fingerprint == spec.fingerprint, f"reuse of {raw.fingerprint} in a shard of {spec.fingerprint}"
    if raw.sha256 and array_sha256(raw.value.array) != raw.sha256:
        raise StoreError(f"a value of {spec.schema.feature} to reuse has changed on the disk. Run `mmpipe verify`.")
    return raw.value


def array_sha256(array: np.ndarray) -> str:
    """Return the sha256 of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _all_finite(array: np.ndarray) -> bool:
    """Say whether no number is NaN or infinite; numpy is slow to ask halves, so look at their exponents."""
    if array.dtype.kind != "f":
        return True
    if array.dtype == np.float16:
        return int((array.view(np.uint16) & _HALF_EXPONENT).max()) < _HALF_EXPONENT
    return np.count_nonzero(np.isfinite(array)) == array.size


def _check_sequence(schema: FeatureSchema, value: FeatureValue) -> None:
    array, times_ns = value.array, value.times_ns
    if array.ndim != 2 or array.shape[1] != schema.dim or array.shape[0] < 1:
        raise SampleError(
            "wrong_shape", f"{schema.feature} gives [T, {schema.dim}] with T >= 1, got {list(array.shape)}"
        )
    if times_ns is None or times_ns.dtype != np.int64 or times_ns.shape != array.shape[:1]:
        got = None if times_ns is None else f"{times_ns.dtype} {list(times_ns.shape)}"
        raise SampleError("wrong_times", f"{schema.feature} needs int64 times [{len(array)}], got {got}")
    if np.count_nonzero(times_ns[1:] < times_ns[:-1]):
        raise SampleError("wrong_times", f"{schema.feature} has times that go back")
