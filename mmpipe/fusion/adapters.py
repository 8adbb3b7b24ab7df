"""Low-rank adapters beside the linear layers of a network (Hu et al. 2021), by the `peft` package."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from mmpipe.config import LoraConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.groups import narrowest, parameter_groups
from mmpipe.fusion.model import FusionModel
from mmpipe.weights.loading import quiet_transformers

_PART = ".lora_"  # in the name of every parameter of an adapter
_BASE = ".base_layer."  # in the names of what an adapter stands beside


def adapted_layers(model: FusionModel, groups: Collection[str]) -> tuple[str, ...]:
    """Return the names of the linear layers of some groups.

    A layer that torch's own attention reads the weights of, past its `forward`, is none: an adapter would do nothing.
    """
    chosen = {
        name.rpartition(".")[0] for name, of in parameter_groups(model).items() if narrowest(of, groups) is not None
    }
    return tuple(name for name, module in model.named_modules() if name in chosen and type(module) is nn.Linear)


def add_adapters(model: FusionModel, config: LoraConfig) -> None:
    """Put an adapter beside every linear layer of the groups; the network says what it said before.

    Raise ConfigError where a group has no such layer, or `peft` is not installed.
    """
    for group in config.groups:
        if not adapted_layers(model, (group,)):
            raise ConfigError(f"lora.groups names {group!r}, which has no linear layer: an adapter stands beside one")
    peft = require_peft()
    layers = list(adapted_layers(model, config.groups))
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=layers
    )
    with quiet_transformers():
        peft.inject_adapter_in_model(settings, model)


def merge_adapters(model: FusionModel) -> None:
    """Add what the adapters learnt to the weights beside them, and leave plain layers: W + (alpha / rank) B A."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, module.get_base_layer())


def is_adapter(name: str) -> bool:
    """Say whether a parameter is an adapter's."""
    return _PART in name


def plain_name(name: str) -> str:
    """Return the name that a parameter has without adapters."""
    return name.replace(_BASE, ".")


def require_peft() -> Any:
    """Return the package; raise ConfigError that says how to get it."""
    try:
        with quiet_transformers():
            import peft
    except ImportError as error:
        raise ConfigError("lora needs peft, which is not installed. Run: pip install 'mmpipe[lora]'") from error
    return peft
