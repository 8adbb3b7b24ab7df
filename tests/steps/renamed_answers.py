"""What released weights say of a store's clips when other features stand in the places of those they learnt from."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from kill_corpus import CORPUS

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.temperature import apply_temperature
from mmpipe.registry.aliases import find_version
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot
from mmpipe.train.weights import infer, load_model
from mmpipe.types import Batch


class _Renamed:
    """A reader of features under the names that a model knows them by."""

    def __init__(self, config: Config, names: Mapping[str, str]) -> None:
        layout, self._names = StoreLayout(config.store), names
        self.reader = AlignedReader(layout, take_snapshot(layout, CORPUS, tuple(names)), tuple(names))

    def gather(self, rows: np.ndarray) -> Batch:
        batch = self.reader.gather(rows)
        features = {self._names[name]: values for name, values in batch.features.items()}
        return Batch(keys=tuple(batch.keys), groups=tuple(batch.groups), features=features, labels_B=batch.labels_B)


def answers_on(config: Config, model: str, names: Mapping[str, str]) -> dict[str, list[float]]:
    """Return what the first version of a model says of every clip; `names`: stored feature to the one it stands for."""
    version = find_version(config.store / "models", model, "1")
    weights, source = load_model(version.path), _Renamed(config, names)
    spine = source.reader.spine
    told = ClassAnswers(
        keys=tuple(spine["key"]),
        groups=tuple(spine["group"]),
        labels_N=np.zeros(len(spine), dtype=np.int64),
        probabilities_NK=infer(weights, source, np.arange(len(spine))).answers_N,
        classes=weights.spec.classes,
    )
    scaled = apply_temperature(told, json.loads(version.read("metrics.json"))["temperature"])
    return dict(zip(scaled.keys, scaled.probabilities_NK.tolist(), strict=True))
