"""Fusions by name: those in `methods/` (the file's name is the fusion's), registered ones, and entry points."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, TypeVar

from mmpipe.errors import ConfigError
from mmpipe.fusion import methods
from mmpipe.fusion.spec import ModelSpec

if TYPE_CHECKING:  # torch takes a second to import, and listing names does not need it
    from mmpipe.fusion.base import Fusion

ENTRY_POINT_GROUP = "mmpipe.fusions"
_FusionClass = TypeVar("_FusionClass", bound="type[Fusion]")
_registered: dict[str, type[Fusion]] = {}


def register_fusion(name: str) -> Callable[[_FusionClass], _FusionClass]:
    """Register a `Fusion` class under a name; a name is given once."""

    def register(fusion: _FusionClass) -> _FusionClass:
        taken = _registered.get(name, fusion)
        if (taken.__module__, taken.__qualname__) != (fusion.__module__, fusion.__qualname__):
            raise ConfigError(f"the fusion name {name!r} is taken by {taken.__module__}.{taken.__qualname__}")
        _registered[name] = fusion
        return fusion

    return register


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
    return tuple(sorted({*_built_in(), *_installed(), *_registered}))


def _load(name: str) -> None:
    """Import the module that registers `name`."""
    if name in _built_in():
        import_module(f"{methods.__name__}.{name}")
    elif name in _installed():
        register_fusion(name)(_installed()[name].load())
    else:
        raise ConfigError(f"no fusion named {name!r}; valid names are: {', '.join(fusion_names())}")


def _built_in() -> tuple[str, ...]:
    return tuple(module.name for module in pkgutil.iter_modules(methods.__path__))


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
