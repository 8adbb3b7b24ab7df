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


def leaves_out(inputs: pl.Expr) -> pl.Expr:
    """Say of noted inputs whether clips were left out of them."""
    return inputs.str.contains(_WITHOUT, literal=True)


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
    return _digest_columns(rows.sort("ordinal").select(_lines(modalities)))


def inputs_of_shards(spine: pl.DataFrame) -> dict[int, dict[Modality, str]]:
    """Return for each shard of a spine what features of every modality are made from now, in one pass over all."""
    ordered = spine.sort("shard", "ordinal")
    left_out = dict(ordered.filter("superseded").group_by("shard").agg("ordinal").iter_rows())
    lines = ordered.select("shard", *_lines(Modality)).partition_by("shard", as_dict=True, include_key=False)
    return {
        number: {modality: note_inputs(digest, left_out.get(number, ())) for modality, digest in digests.items()}
        for (number,), rows in lines.items()
        for digests in (_digest_columns(rows),)
    }


def _lines(modalities: Iterable[Modality]) -> Iterator[pl.Expr]:
    """Yield a line for each clip: its place, range and the stream of a modality."""
    for modality in modalities:
        stream = STREAM_COLUMNS[modality]
        yield pl.concat_str("ordinal", "key", "start_ns", "end_ns", stream, separator=" ").alias(modality)


def _digest_columns(lines: pl.DataFrame) -> dict[Modality, str]:
    return {Modality(column.name): hashlib.sha256("\n".join(column.to_list()).encode()).hexdigest() for column in lines}
