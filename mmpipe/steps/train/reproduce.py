"""Make a released network again from the snapshot that its lineage names, and say whether it is the same.

Everything else is in the version: the settings, the split, the seed. The config says only where the store is. Nothing
is written but to a temporary folder, which goes.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config, CorpusConfig
from mmpipe.errors import ConfigError, MmpipeError, StoreError
from mmpipe.evaluate.answers.files import to_parquet
from mmpipe.io import sha256_file
from mmpipe.registry.aliases import find_version, parse_reference
from mmpipe.registry.versions import Version, local_version
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.train.candidates import join_parts
from mmpipe.steps.train.environment import differing
from mmpipe.steps.train.finetune import Beginnings, find_beginning
from mmpipe.steps.train.train import recipe_digest
from mmpipe.steps.train.training_fits import TrainingFits
from mmpipe.steps.train.training_record import RECORD_NAME, TrainingRecord, read_record
from mmpipe.steps.train.training_set import TrainingSet, label_clips
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.redaction import redactions_of
from mmpipe.store.snapshot import load_snapshot
from mmpipe.words import counted

TOLERANCE = 0.02  # of a probability
MOST_CLIPS = 2000  # that both networks are asked about
WEIGHTS_NAME, PREDICTIONS_NAME = "model.safetensors", "predictions.parquet"


class Outcome(StrEnum):
    """Whether a release is what its own files say it is."""

    REPRODUCED = "reproduced"
    WITHIN_TOLERANCE = "reproduced within tolerance"
    NOT_REPRODUCED = "not reproduced"


class NotReproducible(MmpipeError):
    """What a release was made from is not there any more, or not as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What came of making a release again."""

    model: str
    version: str
    outcome: Outcome
    reason: str  # why it is not byte by byte the same: the first thing that differs; "" where it is
    differs: tuple[str, ...]  # all that is known to differ
    notes: tuple[str, ...]
    compared: tuple[Mapping[str, Any], ...]  # rows: what, released, again, difference
    seconds: float

    def table(self) -> list[dict[str, Any]]:
        """Return one row per thing that was compared."""
        return [dict(row) for row in self.compared]

    def summary(self) -> str:
        """Say it in a sentence."""
        return f"{self.model}@{self.version}: {self.outcome}" + (f". {self.reason}" if self.reason else "")


def reproduce_release(
    config: Config, reference: str, *, answers: bool = False, tolerance: float = TOLERANCE, progress: Progress = SILENT
) -> Reproduction:
    """Train a version's weights again and compare; with `answers` also the fits behind its predictions.

    ConfigError: there is no such version, or it does not say how it was trained.
    """
    started = time.monotonic()
    layout = open_store(config.store)
    named = parse_reference(reference)
    version = find_version(layout.models, named.name, named.ref)
    record = read_record(version)
    with tempfile.TemporaryDirectory(prefix="mmpipe-reproduce-") as folder:
        try:
            data = _open_data(layout, version, record)
            made = _Again(config, record, data, Path(folder), progress)
            made.fit(answers)
            found = _compare(version, made, answers, tolerance)
        except StoreError as error:  # its shards are opened when they are read
            found = _Comparison(outcome=Outcome.NOT_REPRODUCED, reason=f"what it was made from is damaged: {error}")
        except NotReproducible as error:
            found = _Comparison(outcome=Outcome.NOT_REPRODUCED, reason=str(error))
    return Reproduction(
        model=version.name,
        version=version.label,
        outcome=found.outcome,
        reason=found.reason,
        differs=found.differs,
        notes=tuple(_notes(config, version, record)),
        compared=found.rows,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    outcome: Outcome
    reason: str
    differs: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()


# --------------------------------------------------------------------------- what went in


def _open_data(layout: StoreLayout, version: Version, record: TrainingRecord) -> TrainingSet:
    """Return the clips that a version learnt from, as they were; raise NotReproducible where that cannot be."""
    lineage = json.loads(version.read("lineage.json"))
    digest = str(lineage["snapshot"])
    try:
        snapshot = load_snapshot(layout, digest)
        forgotten = redactions_of(layout, snapshot.core)
        if gone := set(forgotten) - set(record.forgotten):
            raise NotReproducible(
                f"the snapshot {digest} is redacted: {counted(len(gone), 'asset was', 'assets were')} forgotten out of "
                "it since, and what is gone for good cannot be learnt from again. Train and release anew"
            )
        features = tuple(sorted(record.fingerprints))
        reader = AlignedReader(layout, snapshot, features)
        schemas = tuple(reader.schema(feature) for feature in features)
        data = label_clips(record.model, snapshot, reader, schemas, ())
    except (ConfigError, StoreError) as error:
        raise NotReproducible(f"the snapshot {digest} is not as it was: {error}") from error
    data = replace(data, fingerprints=tuple(record.fingerprints[name] for name in features), forgotten=forgotten)
    if list(data.classes) != (then := json.loads(version.read("config.json"))["spec"]["classes"]):
        raise NotReproducible(f"the snapshot {digest} has the classes {list(data.classes)}, the version {then}")
    return data


class _Again:
    """The network made again, in a folder of its own."""

    def __init__(
        self, config: Config, record: TrainingRecord, data: TrainingSet, folder: Path, progress: Progress
    ) -> None:
        from mmpipe.train.ranks import ALONE

        self.record, self.data, model = record, data, record.model
        self.source = CorpusConfig(root=folder, split=record.split)
        try:
            self.beginning = find_beginning(config, model, data)
        except ConfigError as error:
            raise NotReproducible(f"what it began from is not as it was: {error}") from error
        begun = Beginnings(model, self.beginning)
        self.fits = TrainingFits(model, self.source, data, folder, progress, False, ALONE, beginnings=begun)

    def fit(self, answers: bool) -> None:
        """Make the release fit, with `answers` also those on each part."""
        self.weights = self.fits.remake(self.record.contender, answers=answers)

    @property
    def recipe(self) -> str:
        """Return the recipe that this training has here and now."""
        return recipe_digest(self.record.model, self.source, self.data, self.beginning)


# --------------------------------------------------------------------------- what came out


def _compare(version: Version, made: _Again, answers: bool, tolerance: float) -> _Comparison:
    from mmpipe.train.compare import ask, compare_weights
    from mmpipe.train.weights import load_model

    then, now = local_version(version), made.weights
    record = made.record
    again = TrainingRecord.from_bytes((now / RECORD_NAME).read_bytes(), "the training made again")
    tensors = compare_weights(then, now)
    rows_A = made.data.reader_rows_N[:MOST_CLIPS]
    said = [ask(load_model(folder), made.fits.pooled, rows_A) for folder in (then, now)]
    far = float(np.abs(said[0] - said[1]).max())
    rows = [
        _row(WEIGHTS_NAME, sha256_file(then / WEIGHTS_NAME), sha256_file(now / WEIGHTS_NAME)),
        _row("tensors", record.tensors_sha256, again.tensors_sha256, tensors.max_difference),
        _row(f"answers about {counted(len(rows_A), 'clip')}", _digest(said[0]), _digest(said[1]), far),
        _row("best epoch", record.best_epoch, again.best_epoch),
        _row("validation loss", record.val_loss, again.val_loss),
    ]
    if answers:
        parts = made.fits.folders_of(record.contender)
        before, after = version.read(PREDICTIONS_NAME), to_parquet(join_parts(parts, "test"))
        distance = _table_distance(before, after)
        digests = hashlib.sha256(before).hexdigest(), hashlib.sha256(after).hexdigest()
        rows.append(_row(PREDICTIONS_NAME, digests[0], digests[1], distance))
        far = max(far, distance)
    equal = all(row["equal"] for row in rows)
    differs = tuple(_differs(version, made, again))
    return _Comparison(
        outcome=Outcome.REPRODUCED if equal else _outcome(far, tolerance),
        reason="" if equal else _reason(differs, tensors.first, far, tolerance),
        differs=differs,
        rows=tuple(rows),
    )


def _outcome(far: float, tolerance: float) -> Outcome:
    return Outcome.WITHIN_TOLERANCE if far <= tolerance else Outcome.NOT_REPRODUCED


def _differs(version: Version, made: _Again, again: TrainingRecord) -> list[str]:
    """Say what is not as it was when the version was trained, what decides most first."""
    found = list(differing(made.record.environment, again.environment))
    if made.recipe != json.loads(version.read("lineage.json"))["recipe"]:
        found.insert(0, "the recipe: this mmpipe trains the same settings in another way")
    return found


def _reason(differs: tuple[str, ...], tensor: str, far: float, tolerance: float) -> str:
    first = differs[0] if differs else f"nothing that is known; the first tensor that does is {tensor or 'none'}"
    words = "within" if far <= tolerance else "above"
    return (
        f"The first thing that differs: {first}. Answers differ by up to {far:.2g}, {words} the tolerance {tolerance:g}"
    )


def _row(what: str, then: Any, now: Any, difference: float | None = None) -> dict[str, Any]:
    row = {"what": what, "released": then, "again": now, "equal": then == now}
    return row if difference is None else row | {"max_difference": difference}


def _digest(said: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(said).tobytes()).hexdigest()


def _table_distance(then: bytes, now: bytes) -> float:
    """Return the largest difference of a number in two tables of the same clips; infinite where they are of others."""
    before, after = (pq.read_table(pa.BufferReader(data)) for data in (then, now))
    if before.schema.names != after.schema.names or before["key"] != after["key"]:
        return float("inf")
    far = 0.0
    for name in before.schema.names:
        left, right = (table[name].combine_chunks() for table in (before, after))
        if pa.types.is_fixed_size_list(left.type):
            left, right = left.flatten(), right.flatten()
        if pa.types.is_floating(left.type):
            far = max(far, float(np.abs(left.to_numpy() - right.to_numpy()).max(initial=0.0)))
    return far


def _notes(config: Config, version: Version, record: TrainingRecord) -> list[str]:
    """Say what of the config is another by now: it is the version's own settings that count."""
    now = config.models.get(version.name)
    if now is None:
        return [f"the config has no model {version.name}: the version's own settings were used"]
    before, after = (table.model_dump(mode="json") for table in (record.model, now))
    changed = sorted(name for name in before if before[name] != after.get(name))
    told = ", ".join(f"models.{version.name}.{name}" for name in changed)
    return [f"the config has changed since ({told}): the version's own settings were used"] if changed else []
