"""Which features a corpus is due, resolved to extractors with names, schemas and fingerprints."""

from __future__ import annotations

from mmpipe.config import Config
from mmpipe.errors import ConfigError, TransientError
from mmpipe.features.extractor import Extractor, feature_name
from mmpipe.features.naming import EXTRACTOR, check_table, own_name_hint, table_name
from mmpipe.features.pinned import PinnedFeature
from mmpipe.features.registry import default_features
from mmpipe.steps.plan.external_pins import find_pinned, registered_names
from mmpipe.steps.plan.feature_table import make_decided
from mmpipe.steps.plan.renditions import resolve_rendition
from mmpipe.store.layout import StoreLayout
from mmpipe.store.schema import find_schema, schema_digest, shape_of


def resolve_features(config: Config, corpus: str) -> tuple[Extractor, ...]:
    """Return the extractors of a corpus: those it names (else the defaults, and what was registered for it) and
    those its models read."""
    return tuple(resolve_feature(config, name, corpus) for name in feature_names(config, corpus))


def try_features(config: Config, corpus: str) -> tuple[tuple[Extractor, ...], dict[str, str]]:
    """Return the extractors of a corpus that can be made here, and by name why each of the others cannot."""
    made: list[Extractor] = []
    faults: dict[str, str] = {}
    for name in feature_names(config, corpus):
        try:
            made.append(resolve_feature(config, name, corpus))
        except (ConfigError, TransientError) as error:
            faults[name] = str(error)
    return tuple(made), faults


def check_tables(config: Config) -> None:
    """Raise ConfigError for a table of [features] that is no extractor's, or a parameter in it that is none.

    Nothing is loaded or looked for: where a model lies is for the machine that will compute. A name in `features` of a
    corpus may be one that another team's dataset gets after the ingest.
    """
    for name, table in config.features.items():
        check_table(name, table)


def feature_names(config: Config, corpus: str) -> tuple[str, ...]:
    """Return the names of a corpus's features, sorted."""
    _, source = config.corpus(corpus)
    if source.features is None:
        usual = default_features(arrays=source.arrays.are_wanted)
        names = {*usual, *registered_names(StoreLayout(config.store), corpus)}
    else:
        names = set(source.features)
    for model in config.models.values():
        if model.corpus == corpus:
            names.update(model.inputs)
    return tuple(sorted(names))


def resolve_feature(config: Config, name: str, corpus: str | None = None) -> Extractor:
    """Return one extractor with the parameters that the config gives it, or what another team publishes for a corpus
    under the name."""
    pinned = find_pinned(StoreLayout(config.store), corpus, name) if corpus else None
    table = config.features.get(table_name(name), {})
    if pinned and EXTRACTOR in table:
        raise ConfigError(f"features.{name}: another team's dataset is registered under this name. Choose another.")
    return pinned or make_decided(config, name, resolve_rendition(config, corpus, name))


def require_same_shape(layout: StoreLayout, corpus: str, extractor: Extractor) -> None:
    """Refuse an extractor whose values do not fit into the dataset that is there, and say the way out."""
    if isinstance(extractor, PinnedFeature):  # its shape was checked when it was pinned
        return
    dataset = layout.dataset(corpus, feature_name(extractor))
    frozen = find_schema(dataset)
    if frozen is None or schema_digest(frozen) == schema_digest(extractor.schema):
        return
    raise ConfigError(
        f"{feature_name(extractor)} gives {shape_of(extractor.schema)} with the parameters of the config, but "
        f"{dataset.root} is frozen at {shape_of(frozen)}. The shape of a feature is fixed for its version: put the "
        f"parameter of [features.{extractor.name}] back, or {own_name_hint(extractor)}."
    )
