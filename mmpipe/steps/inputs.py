"""What a shard of a feature is made from, as one digest: the ledger compares it, whoever makes a shard notes it."""

from __future__ import annotations

import hashlib

import polars as pl

from mmpipe.types import Modality

STREAM_COLUMNS = {
    Modality.VIDEO: "video",
    Modality.AUDIO: "audio",
    Modality.IMAGE: "image",
    Modality.TEXT: "text_stream",
}


def inputs_digest(rows: pl.DataFrame, modality: Modality) -> str:
    """Return the digest of what a shard's feature is made from: its clips, ranges and that modality's streams alone."""
    ordered = rows.sort("ordinal").select("ordinal", "key", "start_ns", "end_ns", STREAM_COLUMNS[modality])
    lines = ordered.select(pl.concat_str(pl.all(), separator=" ")).to_series().to_list()
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
