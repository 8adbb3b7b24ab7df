"""What a model said about clips whose label is known."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmpipe.errors import StoreError

SUM_TOLERANCE = 1e-3  # a float32 softmax over many classes drifts by less


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Row n speaks of clip `keys[n]`: its true class, and the probability of each class.

    A group is what must not be split between train and test (a speaker, a recording): the unit of evidence.
    """

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    labels_N: np.ndarray  # int64, index into `classes`
    probabilities_NK: np.ndarray  # float64, rows sum to 1
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Bring the arrays to their types and refuse what cannot be measured."""
        object.__setattr__(self, "labels_N", np.asarray(self.labels_N, dtype=np.int64))
        object.__setattr__(self, "probabilities_NK", np.asarray(self.probabilities_NK, dtype=np.float64))
        shape = (len(self.keys), len(self.classes))
        if not all(shape):
            raise ValueError(f"nothing to measure: {shape[0]} predictions over {shape[1]} classes")
        if self.probabilities_NK.shape != shape:
            raise ValueError(f"probabilities must be {shape} (clips, classes), got {self.probabilities_NK.shape}")
        if len(self.groups) != shape[0] or self.labels_N.shape != (shape[0],):
            raise ValueError(f"{shape[0]} keys, {len(self.groups)} groups, {self.labels_N.shape} labels: must agree")
        if len(set(self.keys)) != shape[0]:
            raise ValueError(f"{shape[0] - len(set(self.keys))} clip key(s) appear twice; every clip is judged once")
        if not all(self.groups):
            raise ValueError("a clip has no group; where clips have none of their own, give the asset's id")
        if self.labels_N.min() < 0 or self.labels_N.max() >= shape[1]:
            raise ValueError(f"labels must be 0..{shape[1] - 1}, got {self.labels_N.min()}..{self.labels_N.max()}")
        _require_distributions(self.probabilities_NK)

    @property
    def predicted_N(self) -> np.ndarray:
        """Return the most probable class of every clip; of equals, the first."""
        return self.probabilities_NK.argmax(axis=1)

    @property
    def correct_N(self) -> np.ndarray:
        """Return where the most probable class is the true one."""
        return self.predicted_N == self.labels_N

    def take(self, rows: np.ndarray) -> Predictions:
        """Return some rows, in the order asked for."""
        return replace(
            self,
            keys=tuple(self.keys[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            labels_N=self.labels_N[rows],
            probabilities_NK=self.probabilities_NK[rows],
        )

    def aligned_to(self, keys: Sequence[str]) -> Predictions:
        """Return the rows of these clips, in their order."""
        row_of = {key: row for row, key in enumerate(self.keys)}
        missing = [key for key in keys if key not in row_of]
        if missing:
            raise ValueError(f"{len(missing)} of {len(keys)} clips have no prediction, the first is {missing[0]}")
        return self.take(np.array([row_of[key] for key in keys], dtype=np.int64))


def join(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several folds as one, sorted by clip key."""
    if len({part.classes for part in parts}) != 1:
        raise ValueError(f"{len(parts)} parts with different classes cannot be joined")
    whole = Predictions(
        keys=tuple(key for part in parts for key in part.keys),
        groups=tuple(group for part in parts for group in part.groups),
        labels_N=np.concatenate([part.labels_N for part in parts]),
        probabilities_NK=np.concatenate([part.probabilities_NK for part in parts]),
        classes=parts[0].classes,
    )
    return whole.take(np.array(sorted(range(len(whole.keys)), key=whole.keys.__getitem__), dtype=np.int64))


def to_parquet(predictions: Predictions) -> bytes:
    """Return predictions as the bytes of one Parquet file; the classes travel in its metadata."""
    num_classes = len(predictions.classes)
    flat = pa.array(predictions.probabilities_NK.ravel())
    table = pa.table(
        {
            "key": pa.array(predictions.keys, pa.string()),
            "group": pa.array(predictions.groups, pa.string()),
            "label": pa.array(predictions.labels_N),
            "probabilities": pa.FixedSizeListArray.from_arrays(flat, num_classes),
        }
    ).replace_schema_metadata({"classes": json.dumps(predictions.classes, ensure_ascii=False)})
    return _to_bytes(table)


def from_parquet(data: bytes) -> Predictions:
    """Read what `to_parquet` wrote."""
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        classes = tuple(json.loads((table.schema.metadata or {})[b"classes"]))
        flat = table["probabilities"].combine_chunks().flatten().to_numpy()
        return Predictions(
            keys=tuple(table["key"].to_pylist()),
            groups=tuple(table["group"].to_pylist()),
            labels_N=table["label"].to_numpy(),
            probabilities_NK=flat.reshape(-1, len(classes)),
            classes=classes,
        )
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise StoreError(f"these bytes are not predictions: {error}. Evaluate the checkpoint again.") from error


def drop_keys(data: bytes, keys: Collection[str]) -> bytes | None:
    """Return what `to_parquet` wrote without the rows of some clips, perhaps without any; None where it has none."""
    try:
        table = pq.read_table(pa.BufferReader(data))
        gone = pc.is_in(table["key"], pa.array(sorted(keys), pa.string()))
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise StoreError(f"these bytes are not predictions: {error}") from error
    return _to_bytes(table.filter(pc.invert(gone))) if pc.any(gone).as_py() else None


def is_empty(data: bytes) -> bool:
    """Say whether predictions are of no clip: all that were asked were forgotten."""
    return bool(pq.read_metadata(pa.BufferReader(data)).num_rows == 0)


def _to_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _require_distributions(probabilities_NK: np.ndarray) -> None:
    if not np.isfinite(probabilities_NK).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(probabilities_NK))} probabilities are not finite numbers")
    drift = float(np.abs(probabilities_NK.sum(axis=1) - 1).max())
    if probabilities_NK.min() < 0 or drift > SUM_TOLERANCE:
        raise ValueError(f"rows must be probabilities that sum to 1; the worst is {drift:.3g} away. Apply a softmax.")
