"""Where training gets its clips: a source of batches, and what is kept of them in memory.

Every clip is named by its row in the source. A row's values never depend on which other rows are gathered with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mmpipe.errors import StoreError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.preprocess import Prepared, PreprocessFit, choose_steps, pool_segments, pool_steps
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.deterministic import on_threads
from mmpipe.types import Batch, FeatureKind, ModalityBatch

CHUNK_CLIPS = 64  # rows gathered at once: 600 frames of 600 numbers are then 90 MB
MEMORY_BYTES = 1 << 30

Features = dict[str, tuple[Tensor, Tensor]]  # feature -> (x [B, T, D], mask [B, T])


class ClipSource(Protocol):
    """Anything that gathers aligned clips by row."""

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the clips of these rows, in this order."""


class PreparedData(Protocol):
    """Preprocessed clips by position in the rows that it was made for."""

    def take(self, positions: np.ndarray) -> Mapping[str, Prepared]:
        """Return the preprocessed features of these positions."""

    def keys(self, positions: np.ndarray) -> list[str]:
        """Return the clip keys of these positions."""


class InMemory:
    """All clips preprocessed once."""

    def __init__(self, model: FusionModel, source: ClipSource, rows: np.ndarray) -> None:
        parts: list[dict[str, Prepared]] = []
        keys: list[str] = []
        with torch.no_grad():
            for batch in chunks(source, rows):
                parts.append(model.prepare(tensors_of(batch, model.spec.features)))
                keys.extend(batch.keys)
        self._keys = keys
        self._all = {name: _joined([part[name] for part in parts]) for name in model.spec.features}

    def take(self, positions: np.ndarray) -> Mapping[str, Prepared]:
        """Return the preprocessed features of these positions."""
        rows_R = torch.from_numpy(positions)
        return {name: prepared.take(rows_R) for name, prepared in self._all.items()}

    def keys(self, positions: np.ndarray) -> list[str]:
        """Return the clip keys of these positions."""
        return [self._keys[position] for position in positions]


class OnDemand:
    """Clips preprocessed each time that they are asked for: for what does not fit into memory."""

    def __init__(self, model: FusionModel, source: ClipSource, rows: np.ndarray) -> None:
        self._model, self._source, self._rows = model, source, rows

    def take(self, positions: np.ndarray) -> Mapping[str, Prepared]:
        """Return the preprocessed features of these positions."""
        batches = chunks(self._source, self._rows[positions])
        with torch.no_grad():
            parts = [self._model.prepare(tensors_of(batch, self._model.spec.features)) for batch in batches]
        return {name: _joined([part[name] for part in parts]) for name in self._model.spec.features}

    def keys(self, positions: np.ndarray) -> list[str]:
        """Return the clip keys of these positions."""
        return [key for batch in chunks(self._source, self._rows[positions]) for key in batch.keys]


def prepare_data(
    model: FusionModel, source: ClipSource, rows: np.ndarray, memory_bytes: int = MEMORY_BYTES
) -> PreparedData:
    """Keep the preprocessed rows in memory if they fit, else preprocess on demand: the same numbers either way."""
    clip_bytes = sum(4 * preprocess.num_tokens * preprocess.dim for preprocess in model.preprocessors.values())
    return (InMemory if clip_bytes * len(rows) <= memory_bytes else OnDemand)(model, source, rows)


def fit_preprocess(model: FusionModel, source: ClipSource, train_rows: np.ndarray, kept: Collection[str] = ()) -> None:
    """Fit the model's preprocessing on the training rows, in one pass over them; that of `kept` features stays."""
    parts = model.preprocessors.items()
    fits = {name: PreprocessFit(part, len(train_rows)) for name, part in parts if name not in kept}
    for batch in chunks(source, train_rows):
        features = tensors_of(batch, model.spec.features)
        model.check_stored(features)
        for name, fit in fits.items():
            if name in features:
                fit.add(*features[name])
    for fit in fits.values():
        fit.finish()


class PooledSource:
    """A source whose sequences were averaged into segments, or steps, once; pooling them again changes nothing.

    Many fits over the same clips (folds, candidates, seeds) share it and never read frames again.
    """

    def __init__(self, source: ClipSource, spec: ModelSpec, rows: np.ndarray) -> None:
        self._rows = np.unique(rows)
        parts: list[Features] = []
        keys: list[str] = []
        with on_threads(1):
            for batch in chunks(source, self._rows):
                features = tensors_of(batch, spec.features)
                parts.append(
                    {e.feature: _pooled(*features[e.feature], e, spec) for e in spec.inputs if e.feature in features}
                )
                keys.extend(batch.keys)
        self._keys = np.array(keys)
        self._x = {name: torch.cat([part[name][0] for part in parts]).numpy() for name in (parts[0] if parts else ())}
        self._mask = {name: torch.cat([part[name][1] for part in parts]).numpy() for name in self._x}

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the pooled clips of these rows, in this order; they have no labels and no groups."""
        at = np.searchsorted(self._rows, rows)
        if len(rows) and (at.max() >= len(self._rows) or not np.array_equal(self._rows[at], rows)):
            raise ValueError("a pooled source only has the rows that it was made for")
        features = {name: ModalityBatch(x_BTD=self._x[name][at], mask_BT=self._mask[name][at]) for name in self._x}
        return Batch(keys=tuple(self._keys[at].tolist()), features=features, labels_B=np.full(len(rows), -1))


def pool_source(source: ClipSource, spec: ModelSpec, rows: np.ndarray, memory_bytes: int = MEMORY_BYTES) -> ClipSource:
    """Return the source with a spec's sequences pooled in memory if they fit, else the source itself."""
    numbers = [_num_slots(entry, spec) * entry.dim for entry in spec.inputs]
    return PooledSource(source, spec, rows) if 4 * sum(numbers) * len(rows) <= memory_bytes else source


def chunks(source: ClipSource, rows: np.ndarray) -> Iterator[Batch]:
    """Yield the rows' clips in order, a bounded number at a time."""
    for start in range(0, len(rows), CHUNK_CLIPS):
        yield source.gather(rows[start : start + CHUNK_CLIPS])


def tensors_of(batch: Batch, features: Sequence[str]) -> Features:
    """Return the batch's values of these features as tensors; raise StoreError naming clips that are not finite."""
    out: Features = {}
    for name in features:
        if name not in batch.features:
            continue
        part = batch.features[name]
        x_BTD, mask_BT = (
            torch.from_numpy(np.require(array, requirements=("C", "W"))) for array in (part.x_BTD, part.mask_BT)
        )
        finite_B = (torch.isfinite(x_BTD).all(2) | ~mask_BT).all(1)
        if not finite_B.all():
            bad = [batch.keys[row] for row in torch.nonzero(~finite_B)[:5, 0].tolist()]
            raise StoreError(
                f"{name} has values that are not finite in {int((~finite_B).sum())} clip(s), among them {bad}; "
                "extract the feature again, or leave those clips out"
            )
        out[name] = (x_BTD.float(), mask_BT)
    return out


def _num_slots(entry: InputSpec, spec: ModelSpec) -> int:
    return spec.encoder_of(entry.feature).num_steps if entry.kind is FeatureKind.SEQUENCE else 1


def _pooled(x_BTD: Tensor, mask_BT: Tensor, entry: InputSpec, spec: ModelSpec) -> tuple[Tensor, Tensor]:
    slots = _num_slots(entry, spec)
    encoder = spec.encoder_of(entry.feature)
    if encoder.backbone:
        return choose_steps(x_BTD, mask_BT, slots, evenly=encoder.backbone.reads_pictures)
    if entry.kind is FeatureKind.SEQUENCE and encoder.steps:
        return pool_steps(x_BTD, mask_BT, slots)
    present_B1 = mask_BT.any(1, keepdim=True)
    return pool_segments(x_BTD, mask_BT, slots), present_B1.expand(-1, slots).contiguous()


def _joined(parts: Sequence[Prepared]) -> Prepared:
    return Prepared(
        x_BSK=torch.cat([part.x_BSK for part in parts]),
        present_B=torch.cat([part.present_B for part in parts]),
        mask_BS=torch.cat([part.real_BS for part in parts]),
    )
