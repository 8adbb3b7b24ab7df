"""Clips joined with all their features into plain samples: what exports and streams are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from mmpipe.batches.aligned import AlignedReader
from mmpipe.export.sample import Joined, Shape
from mmpipe.store.rights import Rights
from mmpipe.types import FeatureKind, ModalityBatch

GATHERED = 64  # clips padded to one length at a time
_OF_SPINE = ("partition", "source_id", "asset_id", "group", "split", "start_ns", "end_ns", "text")
_OF_RIGHTS = ("owner", "licence", "pii", "consent")
_WHOLE_NUMBERS = frozenset({"start_ns", "end_ns"})


def shape_of(reader: AlignedReader) -> Shape:
    """Return what every joined sample of a reader has."""
    return Shape(
        facts=(*_OF_SPINE, *_OF_RIGHTS),
        whole_numbers=_WHOLE_NUMBERS,
        labels=_label_names(reader.spine),
        features=tuple(reader.schema(name) for name in reader.features),
    )


def rights_of(rights: Mapping[str, Rights], asset_id: str) -> dict[str, str]:
    """Return what a sample says of its asset's rights."""
    found = rights.get(asset_id, Rights())
    return {name: getattr(found, name) for name in _OF_RIGHTS}


class Joiner:
    """Joins the clips of a reader; `rights` are by asset."""

    def __init__(self, reader: AlignedReader, rights: Mapping[str, Rights]) -> None:
        """Take what every sample has from the reader."""
        self.shape = shape_of(reader)
        self._reader = reader
        self._rights = rights
        # No polars from here on: its threads do not survive a fork, and workers are forked.
        self._clips = reader.spine.select("key", "labels", *_OF_SPINE).rechunk().to_arrow()
        self._sequences = [schema.feature for schema in self.shape.sequences]

    def join(self, rows_N: np.ndarray) -> Iterator[Joined]:
        """Yield the clips at these rows, in that order."""
        for start in range(0, len(rows_N), GATHERED):
            yield from self._join_batch(rows_N[start : start + GATHERED])

    def _join_batch(self, rows_B: np.ndarray) -> Iterator[Joined]:
        batch = self._reader.gather(rows_B)
        clips = self._clips.take(pa.array(rows_B)).to_pylist()
        for place, (row, clip) in enumerate(zip(rows_B.tolist(), clips, strict=True)):
            values = {
                schema.feature: _unpad(batch.features[schema.feature], place, schema.kind, schema.dtype)
                for schema in self.shape.features
            }
            yield Joined(
                key=clip["key"],
                facts={name: clip[name] for name in _OF_SPINE} | rights_of(self._rights, clip["asset_id"]),
                labels=json.loads(clip["labels"]),
                values=values,
                times_ns={
                    name: None if values[name] is None else self._reader.times(row, name).copy()
                    for name in self._sequences
                },
            )


def _unpad(values: ModalityBatch, place: int, kind: FeatureKind, dtype: str) -> np.ndarray | None:
    steps = int(values.mask_BT[place].sum())
    if not steps:
        return None
    x_TD = values.x_BTD[place, :steps].astype(dtype)
    return x_TD if kind is FeatureKind.SEQUENCE else x_TD[0]


def _label_names(spine: pl.DataFrame) -> tuple[str, ...]:
    return tuple(sorted({name for text in spine["labels"].unique().to_list() for name in json.loads(text)}))
