"""Which extractor a feature's name in the config stands for: the one place where such a name is read.

A name is an extractor's, or one of its own: the table `[features.NAME]` then says by `extractor` whose it is, or which
release of ours computes it. Either may read a rendition, as NAME.RENDITION: the same extractor over media that are
prepared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmpipe.config import split_feature
from mmpipe.errors import ConfigError
from mmpipe.features.alias import Alias
from mmpipe.features.extractor import Extractor
from mmpipe.features.extractor import extractor_behind as extractor_behind
from mmpipe.features.prepared import Prepared, Rendition
from mmpipe.features.registry import check_params, extractor_names, make_extractor
from mmpipe.features.released import PREFIX, RELEASE, parse_release

EXTRACTOR = "extractor"  # the key of `[features.NAME]` that is no parameter


def make_feature(name: str, table: Mapping[str, Any] | None = None, rendition: Rendition | None = None) -> Extractor:
    """Return what makes a feature, from its name, its table in the config, and the rendition that it names.

    Raise ConfigError naming the fault.
    """
    own_name, rendition_name = split_feature(name)
    made = _make_named(own_name, table)
    if not rendition_name:
        return made
    if rendition is None:
        raise ConfigError(f"the feature {name!r} reads the rendition {rendition_name!r}, which nobody here knows")
    if made.modality != str(rendition.modality):
        raise ConfigError(
            f"the feature {name!r} reads {made.modality}, and the rendition {rendition_name!r} is of "
            f"{rendition.modality}. Name a rendition of {made.modality}."
        )
    return Prepared(extractor=made, rendition_name=rendition_name, rendition=rendition)


def check_table(name: str, table: Mapping[str, Any] | None = None) -> None:
    """Raise ConfigError naming the fault of a feature's table; nothing is made, nothing looked for."""
    made_by, params = _maker_of(name, table)
    if not made_by.startswith(PREFIX):
        check_params(made_by, params, name)


def table_name(name: str) -> str:
    """Return under which name the config has a feature's parameters: a rendition has none of its own."""
    return split_feature(name)[0]


def rendition_of(extractor: Extractor) -> Rendition | None:
    """Return how the media of a feature are prepared; None where they are read as they are."""
    return extractor.rendition if isinstance(extractor, Prepared) else None


def own_name_hint(extractor: Extractor) -> str:
    """Say how a person keeps an extractor's values beside those of other parameters."""
    made_by = extractor_behind(extractor).name
    free = next(name for number in range(2, 1_000) if (name := f"{made_by}-{number}") != extractor.name)
    return (
        f"give the changed one a name, and so a dataset, of its own: a table [features.{free}] with "
        f'extractor = "{made_by}" and its parameters, and "{free}" in `features` of the corpus'
    )


def _make_named(name: str, table: Mapping[str, Any] | None) -> Extractor:
    made_by, params = _maker_of(name, table)
    if made_by == name:
        return make_extractor(name, params)
    if made_by.startswith(PREFIX):
        if RELEASE not in params:
            raise ConfigError(f"features.{name}.{EXTRACTOR} = {made_by!r}: a release is found by a plan, in a store")
        made_by = RELEASE
    return Alias(name=name, extractor=make_extractor(made_by, params, name))


def _maker_of(name: str, table: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Return whose a feature's parameters are, and these."""
    params = dict(table or {})
    made_by = params.pop(EXTRACTOR, name)
    if made_by == name:
        return name, params
    of_release = isinstance(made_by, str) and made_by.startswith(PREFIX)
    if not isinstance(made_by, str) or not (of_release or made_by in extractor_names()):
        raise ConfigError(
            f"features.{name}.{EXTRACTOR} = {made_by!r}: no such extractor; there are: {', '.join(extractor_names())}, "
            f"and {PREFIX}NAME@VERSION"
        )
    if name in extractor_names():
        raise ConfigError(
            f"features.{name}.{EXTRACTOR} = {made_by!r}: {name!r} is an extractor itself. Choose a name that is none."
        )
    if of_release:
        parse_release(made_by)
    return made_by, params
