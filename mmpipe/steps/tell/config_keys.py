"""Every key of the config, those of the installed extractors and sources included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mmpipe.config.keys import NAME, ConfigKey, list_keys
from mmpipe.errors import ConfigError
from mmpipe.features.naming import EXTRACTOR
from mmpipe.features.registry import extractor_names, params_of
from mmpipe.sources.plugged import source_names, source_params

_OPTIONS = f"corpora.{NAME}.source.options"


def all_keys() -> tuple[ConfigKey, ...]:
    """Return the keys in the order of the tree."""
    keys: list[ConfigKey] = []
    for key in list_keys():
        keys.append(key)
        if key.key == "features":
            for name in extractor_names():
                keys += _parameters(name)
            keys.append(_own_name())
        if key.key == _OPTIONS:
            for name in source_names():
                keys += _options(name)
    return tuple(keys)


def find_keys(below: str) -> tuple[ConfigKey, ...]:
    """Return a key with those below it; a name that people give, as a corpus's, is left out or is any word."""
    wanted = [part for part in below.split(".") if part]
    short = [part for part in wanted if part != NAME]
    keys = all_keys()
    left_out = tuple(key for key in keys if [p for p in key.key.split(".") if p != NAME][: len(short)] == short)
    return left_out or tuple(key for key in keys if _begins(key.key.split("."), wanted))


def _parameters(name: str) -> Iterator[ConfigKey]:
    """Yield the parameters of an extractor, or one row that says why it cannot be loaded."""
    try:
        yield from list_keys(params_of(name), f"features.{name}")
    except ConfigError as error:
        yield ConfigKey(
            key=f"features.{name}", type="table", default="", required=False, limits="", description=str(error)
        )


def _options(name: str) -> Iterator[ConfigKey]:
    """Yield what a source takes, or one row that says why it cannot be loaded."""
    try:
        for key in list_keys(source_params(name), _OPTIONS):
            yield replace(key, description=f"of the source {name}: {key.description}")
    except ConfigError as error:
        yield ConfigKey(key=_OPTIONS, type="table", default="", required=False, limits="", description=str(error))


def _begins(key: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(wanted) <= len(key) and all(part in (NAME, word) for part, word in zip(key, wanted, strict=False))


def _own_name() -> ConfigKey:
    return ConfigKey(
        key=f"features.{NAME}.{EXTRACTOR}",
        type=" | ".join(extractor_names()),
        default="",
        required=False,
        limits="",
        description=f"makes {NAME} a feature of its own, with this extractor and its parameters",
    )
