"""Which extractor a feature's name in the config stands for: the one place where such a name is read.

A name is an extractor's, or one of its own: the table `[features.NAME]` then says by `extractor` whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.features.alias import Alias
from mmpipe.features.extractor import Extractor
from mmpipe.features.registry import extractor_names, make_extractor

EXTRACTOR = "extractor"  # the key of `[features.NAME]` that is no parameter


def make_feature(name: str, table: Mapping[str, Any] | None = None) -> Extractor:
    """Return what makes a feature, from its name and its table in the config; raise ConfigError naming the fault."""
    params = dict(table or {})
    made_by = params.pop(EXTRACTOR, name)
    if made_by == name:
        return make_extractor(name, params)
    if not isinstance(made_by, str) or made_by not in extractor_names():
        raise ConfigError(
            f"features.{name}.{EXTRACTOR} = {made_by!r}: no such extractor; there are: {', '.join(extractor_names())}"
        )
    if name in extractor_names():
        raise ConfigError(
            f"features.{name}.{EXTRACTOR} = {made_by!r}: {name!r} is an extractor itself. Choose a name that is none."
        )
    return Alias(name=name, extractor=make_extractor(made_by, params, name))


def extractor_behind(extractor: Extractor) -> Extractor:
    """Return the extractor that computes: behind an alias another, else itself."""
    return extractor.extractor if isinstance(extractor, Alias) else extractor


def own_name_hint(extractor: Extractor) -> str:
    """Say how a person keeps an extractor's values beside those of other parameters."""
    made_by = extractor_behind(extractor).name
    free = next(name for number in range(2, 1_000) if (name := f"{made_by}-{number}") != extractor.name)
    return (
        f"give the changed one a name, and so a dataset, of its own: a table [features.{free}] with "
        f'extractor = "{made_by}" and its parameters, and "{free}" in `features` of the corpus'
    )
