"""Which features a corpus is due, resolved to extractors with names, schemas and fingerprints."""

from __future__ import annotations

from mmpipe.config import Config
from mmpipe.features.extractor import Extractor
from mmpipe.features.registry import default_features, make_extractor
from mmpipe.steps.external_pins import find_pinned, registered_names
from mmpipe.store.layout import StoreLayout


def resolve_features(config: Config, corpus: str) -> tuple[Extractor, ...]:
    """Return the extractors of a corpus: those it names (else the defaults, and what was registered for it) and
    those its models read."""
    _, source = config.corpus(corpus)
    if source.features is None:
        names = {*default_features(), *registered_names(StoreLayout(config.store), corpus)}
    else:
        names = set(source.features)
    for model in config.models.values():
        if model.corpus == corpus:
            names.update(model.inputs)
    return tuple(resolve_feature(config, name, corpus) for name in sorted(names))


def resolve_feature(config: Config, name: str, corpus: str | None = None) -> Extractor:
    """Return one extractor with the parameters that the config gives it, or what another team publishes for a corpus
    under the name."""
    pinned = find_pinned(StoreLayout(config.store), corpus, name) if corpus else None
    return pinned or make_extractor(name, config.features.get(name, {}))
