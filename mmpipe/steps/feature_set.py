"""Which features a corpus is due, resolved to extractors with names, schemas and fingerprints."""

from __future__ import annotations

from mmpipe.config import Config
from mmpipe.features.extractor import Extractor
from mmpipe.features.registry import default_features, make_extractor


def resolve_features(config: Config, corpus: str) -> tuple[Extractor, ...]:
    """Return the extractors of a corpus: those it names (else the defaults) and those its models read."""
    _, source = config.corpus(corpus)
    names = set(source.features if source.features is not None else default_features())
    for model in config.models.values():
        if model.corpus == corpus:
            names.update(model.inputs)
    return tuple(resolve_feature(config, name) for name in sorted(names))


def resolve_feature(config: Config, name: str) -> Extractor:
    """Return one extractor with the parameters that the config gives it."""
    return make_extractor(name, config.features.get(name, {}))
