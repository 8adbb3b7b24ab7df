"""What a shard of a feature is made from, as one digest: the ledger compares it, whoever makes a shard notes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import polars as pl

from mmpipe.types import Modality

STREAM_COLUMNS = {
    Modality.VIDEO: "video",
    Modality.AUDIO: "audio",
    Modality.IMAGE: "image",
    Modality.TEXT: "text_stream",
    Modality.ARRAY: "array",
}


def inputs_digest(rows: pl.DataFrame, modality: Modality) -> str:
    """Return the digest of what a shard's feature is made from: its clips, ranges and that modality's streams alone."""
    return inputs_digests(rows, (modality,))[modality]


def inputs_digests(rows: pl.DataFrame, modalities: Iterable[Modality] = tuple(Modality)) -> dict[Modality, str]:
    """Return `inputs_digest` of several modalities in one pass."""
    lines = rows.sort("ordinal").select(
        pl.concat_str("ordinal", "key", "start_ns", "end_ns", STREAM_COLUMNS[modality], separator=" ").alias(modality)
        for modality in modalities
    )
    return {Modality(column.name): hashlib.sha256("\n".join(column.to_list()).encode()).hexdigest() for column in lines}
