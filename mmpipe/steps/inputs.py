"""What a shard of a feature is made from, as one digest: the ledger compares it, whoever makes a shard notes it.

Clips that are superseded when a shard is made are left out of it. Which ones stands behind the digest, so that the
shard is due again when one of them is live again, and not when others follow them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby

import polars as pl

from mmpipe.types import Modality

STREAM_COLUMNS = {
    Modality.VIDEO: "video",
    Modality.AUDIO: "audio",
    Modality.IMAGE: "image",
    Modality.TEXT: "text_stream",
    Modality.ARRAY: "array",
}
_WITHOUT = " without "


def shard_inputs(rows: pl.DataFrame, modality: Modality) -> str:
    """Return what a feature's shard is made from now: all its clips in one digest, and the superseded left out."""
    return note_inputs(inputs_digest(rows, modality), superseded_in(rows))


def superseded_in(rows: pl.DataFrame) -> list[int]:
    """Return the ordinals of a shard's clips that are superseded."""
    return rows.filter("superseded")["ordinal"].sort().to_list()


def note_inputs(digest: str, left_out: Collection[int]) -> str:
    """Return a digest with the ordinals of the clips that are left out: `abc... without 0-3 7`."""
    return f"{digest}{_WITHOUT}{' '.join(_runs(sorted(left_out)))}" if left_out else digest


def split_inputs(inputs: str) -> tuple[str, frozenset[int]]:
    """Return the digest, and the ordinals of the clips that were left out."""
    digest, _, told = inputs.partition(_WITHOUT)
    runs = (run.partition("-") for run in told.split())
    return digest, frozenset(n for first, _, last in runs for n in range(int(first), int(last or first) + 1))


def is_made_from(made: str, inputs: str) -> bool:
    """Say whether a shard that was made from something has all that it would have if it were made from `inputs`."""
    if made == inputs:
        return True
    (digest, left_out), (wanted, superseded) = split_inputs(made), split_inputs(inputs)
    return digest == wanted and left_out <= superseded


def possible_inputs(inputs: str) -> tuple[str, ...]:
    """Return under which inputs a finished shard may have been noted: before its clips were superseded, or after."""
    return tuple(dict.fromkeys((inputs, split_inputs(inputs)[0])))


def _runs(ordinals: Iterable[int]) -> Iterator[str]:
    """Yield rising numbers as `first-last`, or alone."""
    for _, group in groupby(enumerate(ordinals), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0])


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
