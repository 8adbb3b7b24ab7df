"""What of a network learns, from which epoch on, and how fast: by the groups of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from mmpipe.config import FinetuneConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.adapters import add_adapters, is_adapter, merge_adapters, plain_name
from mmpipe.fusion.groups import HEADS, begins_with_weights, narrowest, parameter_groups
from mmpipe.fusion.model import FusionModel
from mmpipe.train.begin import Begun

# Running statistics would drift, and a network that is as it predicts has no dropout. Recurrent layers have neither,
# and cuDNN passes no gradient through one that only predicts.
_STAYS_TRAINING = nn.RNNBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When each parameter begins to learn, and by what its learning rate is multiplied."""

    first_epochs: Mapping[str, int | None]  # None: never
    rates: Mapping[str, float]  # what is not named has 1

    def learning(self, epoch: int) -> frozenset[str]:
        """Return the parameters that learn in an epoch."""
        return frozenset(name for name, first in self.first_epochs.items() if first is not None and first <= epoch)

    def require_learning(self, model: FusionModel) -> None:
        """Raise ConfigError where an epoch would change nothing."""
        if not self.learning(1):
            spec = model.spec
            raise ConfigError(
                f"of {spec.fusion} over {list(spec.features)} nothing learns in epoch 1: all of it is frozen. Take a "
                "group out of finetune.freeze, name it in finetune.unfreeze with epoch 1, or, for a single input, set "
                'finetune.singles = "anew"'
            )


class Freezer:
    """Freezes parts of a network, epoch by epoch; with adapters, they are put in here and merged in the end."""

    def __init__(self, model: FusionModel, config: FinetuneConfig, begun: Begun) -> None:
        still = _still_by_itself(model)
        self._model, self._has_adapters = model, config.lora is not None
        if config.lora:
            add_adapters(model, config.lora)
        self.schedule = plan_schedule(model, config, begun, still)
        self.schedule.require_learning(model)
        self.apply(1)

    def apply(self, epoch: int) -> None:
        """Let learn what learns in an epoch; the rest has no gradient, and is as it predicts."""
        learning = self.schedule.learning(epoch)
        for name, parameter in self._model.named_parameters():
            parameter.requires_grad_(name in learning)
        if self._model.training:
            _rest(self._model)

    def merge(self) -> None:
        """Leave a plain network."""
        if self._has_adapters:
            merge_adapters(self._model)


def check_freezing(model: FusionModel, config: FinetuneConfig, begun: Begun) -> None:
    """Raise the ConfigError of a freezing that cannot be; the network may be on the meta device, and is changed."""
    still = _still_by_itself(model)
    if config.lora:
        add_adapters(model, config.lora)
    plan_schedule(model, config, begun, still).require_learning(model)


def plan_schedule(model: FusionModel, config: FinetuneConfig, begun: Begun, still: frozenset[str]) -> Schedule:
    """Say of every parameter when it learns; the narrowest group that is named decides.

    `still` are those that stay as they are whatever is said. What has no place in the weights that it begins from
    learns in any case: frozen random numbers would say nothing. With adapters, what they stand beside stays, and of
    what was taken over everything but the heads.
    """
    first_epochs: dict[str, int | None] = {}
    rates = {}
    for name, groups in parameter_groups(model).items():
        is_random = plain_name(name) in begun.new and not begins_with_weights(model, name)
        first = 1 if is_random else _first_epoch(name, groups, config, begun)
        first_epochs[name] = None if name in still else first
        if group := narrowest(groups, config.rates):
            rates[name] = config.rates[group]
    return Schedule(first_epochs=first_epochs, rates=rates)


def _first_epoch(name: str, groups: tuple[str, ...], config: FinetuneConfig, begun: Begun) -> int | None:
    if is_adapter(name):
        return 1
    adapted = config.lora.groups if config.lora else ()
    group = narrowest(groups, {*config.freeze, *config.unfreeze, *adapted})
    if group is not None:
        return config.unfreeze.get(group)
    is_taken = plain_name(name) in begun.taken
    return None if config.lora and is_taken and groups[0] not in HEADS else 1


def _still_by_itself(model: FusionModel) -> frozenset[str]:
    """Return the parameters that its own config keeps as they begin: those of a frozen backbone."""
    return frozenset(name for name, parameter in model.named_parameters() if not parameter.requires_grad)


def _rest(module: nn.Module) -> None:
    """Put every part of which nothing learns into the state in which it predicts."""
    parameters = list(module.parameters())
    if any(parameter.requires_grad for parameter in parameters):
        for child in module.children():
            _rest(child)
    elif parameters:
        for part in module.modules():
            part.training = isinstance(part, _STAYS_TRAINING)
