"""Give assets the numbers that the labels table has for them: an array of one row, which lies in no file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mmpipe.config import CorpusConfig, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import Extractor
from mmpipe.sources.labels import LabelTable
from mmpipe.steps.ingest.acceptance import Acceptance
from mmpipe.types import Asset, Drop, Modality, Stream, asset_id_of, digest_of

_WORDS = {"true": 1.0, "false": 0.0}


def require_label_columns(table: LabelTable, source: CorpusConfig) -> None:
    """Refuse columns of numbers that the labels table does not have."""
    missing = [name for name in source.arrays.label_columns if table.rows and name not in table.columns]
    if missing:
        raise ConfigError(
            f"{source.labels and source.labels.file} has no column {missing[0]!r} (`arrays.label_columns`); "
            f"its columns are: {', '.join(table.columns)}"
        )


def add_label_numbers(
    entries: Sequence[Acceptance], source: CorpusConfig, labels: Mapping[str, Mapping[str, str]]
) -> tuple[list[Acceptance], list[Drop]]:
    """Return the stems with an array of what their labels row says, and a note for each cell that is no number."""
    columns = source.arrays.label_columns
    if not columns:
        return list(entries), []
    notes: list[Drop] = []
    made: list[Acceptance] = []
    for entry in entries:
        said = labels.get(entry.source_id, {})
        numbers = {column: _number(said[column]) for column in columns if column in said}
        notes += [_note(entry, column, said[column]) for column, number in numbers.items() if number is None]
        row = {column: numbers.get(column) for column in columns}
        known = entry.asset is not None and any(number is not None for number in row.values())
        made.append(replace(entry, asset=_with_numbers(entry.asset, row)) if entry.asset and known else entry)
    return made, notes


def refuse_own_numbers(model: ModelConfig, source: CorpusConfig, extractors: Iterable[Extractor]) -> None:
    """Refuse an input of numbers among which the label stands."""
    readers = [extractor.name for extractor in extractors if extractor.modality is Modality.ARRAY]
    if readers and model.target in source.arrays.label_columns:
        raise ConfigError(
            f"leak: the target {model.target!r} is one of the numbers (`arrays.label_columns`) that {readers[0]!r} "
            f"reads. Leave {model.target!r} out of them, or {readers[0]!r} out of `inputs`."
        )


def _with_numbers(asset: Asset, row: Mapping[str, float | None]) -> Asset:
    values = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    stream = Stream(
        role=str(Modality.ARRAY),
        modality=Modality.ARRAY,
        # Of this asset alone: equal numbers of two recordings are no sign that one is a copy of the other.
        digest=digest_of("mmpipe-label-numbers-1", asset.asset_id, values),
        file="",
        file_sha256="",
        file_nbytes=0,
        track=0,
        start_ns=0,
        duration_ns=0,
        codec="labels",
        channels=len(row),
        origin=f"columns:{','.join(row)}",
        values=values,
    )
    streams = tuple(sorted((*asset.streams, stream), key=lambda stream: stream.role))
    return replace(asset, asset_id=asset_id_of((stream.role, stream.digest) for stream in streams), streams=streams)


def _number(text: str) -> float | None:
    """Return the finite float32 number that a label says, None where it says none."""
    try:
        number = _WORDS[text] if text in _WORDS else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 3e38 else None


def _note(entry: Acceptance, column: str, text: str) -> Drop:
    return Drop(
        stage="list",
        code="not_a_number",
        detail=f"the labels column {column!r} holds {text[:40]!r}: it counts as missing",
        source_id=entry.source_id,
        asset_id="",
        kept=True,
    )
