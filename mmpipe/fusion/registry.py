"""Fusions by name: those in `methods/` (the file's name is the fusion's), registered ones, and entry points."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from mmpipe.errors import ConfigError
from mmpipe.fusion import methods
from mmpipe.fusion.spec import ModelSpec
from mmpipe.plugins import PluginKind, find_plugin, plugin_names

if TYPE_CHECKING:  # torch takes a second to import, and listing names does not need it
    from mmpipe.fusion.base import Fusion

_FusionClass = TypeVar("_FusionClass", bound="type[Fusion]")
_registered: dict[str, type[Fusion]] = {}


def register_fusion(name: str) -> Callable[[_FusionClass], _FusionClass]:
    """Register a `Fusion` class under a name; a name is given once."""

    def register(fusion: _FusionClass) -> _FusionClass:
        home = f"{methods.__name__}.{name}"
        if name in _built_in() and fusion.__module__ != home:
            raise ConfigError(f"the fusion name {name!r} is taken by {home}")
        taken = _registered.get(name, fusion)
        if (taken.__module__, taken.__qualname__) != (fusion.__module__, fusion.__qualname__):
            raise ConfigError(f"the fusion name {name!r} is taken by {taken.__module__}.{taken.__qualname__}")
        _registered[name] = fusion
        return fusion

    return register


@contextmanager
def lent_name(name: str, fusion: type[Fusion]) -> Iterator[None]:
    """Register a class for the length of a block: a check of it leaves no name behind."""
    register_fusion(name)(fusion)
    try:
        yield
    finally:
        del _registered[name]


def make_fusion(spec: ModelSpec) -> Fusion:
    """Build the fusion that a spec names; raise ConfigError that lists the valid names."""
    kind = fusion_class(spec.fusion)
    _require_goal(kind, spec)
    kind.read_options(spec)  # also where a fusion has nothing to choose, and would not look
    return kind(spec)


def _require_goal(kind: type[Fusion], spec: ModelSpec) -> None:
    """Refuse a fusion that mixes answers which cannot be mixed as it does."""
    is_sure = spec.goal_options.get("likelihood", "point") != "point"
    if kind.decides and (spec.goal not in kind.goals or is_sure):
        what = f"{spec.goal.value!r}" + (f" with likelihood = {spec.goal_options['likelihood']!r}" if is_sure else "")
        raise ConfigError(
            f"the fusion {spec.fusion!r} mixes the decisions of its modalities, which it cannot do for goal = {what}: "
            "choose one that joins embeddings, such as 'concat', 'early_weighted' or 'transformer'"
        )


def fusion_class(name: str) -> type[Fusion]:
    """Return the class behind a name; raise ConfigError that lists the valid ones."""
    if name not in _registered:
        _load(name)
    return _registered[name]


def fusion_names() -> tuple[str, ...]:
    """Return every name that `make_fusion` knows, sorted, without importing any of them."""
    return tuple(sorted({*_built_in(), *plugin_names(PluginKind.FUSION), *_registered}))


def _load(name: str) -> None:
    """Import the module that registers `name`."""
    is_built_in = name in _built_in()
    plugin = find_plugin(PluginKind.FUSION, name, is_built_in=is_built_in)
    if is_built_in:
        import_module(f"{methods.__name__}.{name}")
    elif plugin:
        from mmpipe.fusion.base import Fusion

        kind = plugin.load()
        if not (isinstance(kind, type) and issubclass(kind, Fusion)):
            raise ConfigError(f"{plugin.said} is no subclass of mmpipe.Fusion. {plugin.way_out}")
        register_fusion(name)(kind)
    else:
        raise ConfigError(f"no fusion named {name!r}; valid names are: {', '.join(fusion_names())}")


def _built_in() -> tuple[str, ...]:
    return tuple(module.name for module in pkgutil.iter_modules(methods.__path__))
