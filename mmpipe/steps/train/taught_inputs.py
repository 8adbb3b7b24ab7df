"""Refuse an input that was taught the labels of clips on which the model would be judged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from mmpipe.config import ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import Extractor, extractor_behind
from mmpipe.features.released import Released
from mmpipe.registry.versions import pick_version
from mmpipe.store.layout import StoreLayout

FOLDS = "folds"  # of a release's lineage: on how many folds its model was judged; 0: on the fixed split


def refuse_taught_inputs(layout: StoreLayout, model: ModelConfig, extractors: Iterable[Extractor]) -> None:
    """Refuse a fused release of the same corpus as an input, unless both keep to the fixed split.

    A release that was judged by folds learnt from all clips in the end, and folds judge on all: those it was taught
    are then among them. On the fixed split neither sees the test clips. Encoders that learn without labels may be read.
    """
    for extractor in extractors:
        for released in _fused_behind(extractor):
            name, _, label = released.params.release.name.partition("@")
            lineage = json.loads(pick_version(layout.models, name, label).read("lineage.json"))
            if lineage.get("corpus") == model.corpus and (model.folds or lineage.get(FOLDS, 1)):
                raise ConfigError(
                    f"leak: {extractor.name!r} is the embedding of {name}@{label}, which was taught labels of "
                    f"{model.corpus!r}, those of clips too on which this model would be judged. Use `folds = 0` for "
                    "both models, so that neither sees the test split, or leave it out of `inputs`."
                )


def _fused_behind(extractor: Extractor) -> Iterator[Released]:
    """Yield the fused releases that an extractor computes with, one behind the other."""
    behind = extractor_behind(extractor)
    if isinstance(behind, Released):
        if behind.is_fused:
            yield behind
        yield from _fused_behind(behind.base)
