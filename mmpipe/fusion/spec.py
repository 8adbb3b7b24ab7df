"""Everything that decides the shape of a network, as one value that survives JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ValidationError

from mmpipe.config import EncoderConfig, FusionOptions, Goal, GoalOptions, HeadKind, Weighting, explain_validation
from mmpipe.errors import ConfigError
from mmpipe.fusion.imputers.spec import ImputerSpec
from mmpipe.types import FeatureKind

_FEWEST_NAMES = {Goal.CLASSIFY: 2, Goal.TAG: 2, Goal.RETRIEVE: 0, Goal.ANOMALY: 0, Goal.GENERATE: 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One feature that a network reads."""

    feature: str
    kind: FeatureKind
    dim: int

    def __post_init__(self) -> None:
        if not self.feature or ":" in self.feature:  # parts of the network are held under it: see `ByFeature`
            raise ConfigError(f"an input needs a feature name without colons, got {self.feature!r}")
        if self.dim < 1:
            raise ConfigError(f"the dimension of {self.feature} must be at least 1, got {self.dim}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlsoSpec:
    """One more answer of a network, on its joint embedding."""

    goal: Goal
    classes: tuple[str, ...]
    goal_options: GoalOptions = field(default_factory=dict)
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "goal_options", _as_json_has_it(self.goal_options))

    @property
    def width(self) -> int:
        """Return how many numbers a clip's target is, packed beside others: of classes their index."""
        return 1 if self.goal is Goal.CLASSIFY else len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "goal": self.goal.value,
            "classes": list(self.classes),
            "goal_options": self.goal_options,
            "weight": self.weight,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A network but for its weights. Inputs are kept sorted by name: the order they came in never matters."""

    fusion: str
    inputs: tuple[InputSpec, ...]
    classes: tuple[str, ...]  # the names along an answer: of classes, labels, quantities, tags, words
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    encoders: Mapping[str, EncoderConfig] = field(default_factory=dict)  # of single features, instead of `encoder`
    goal: Goal = Goal.CLASSIFY
    goal_options: GoalOptions = field(default_factory=dict)
    also: Mapping[str, AlsoSpec] = field(default_factory=dict)  # more answers by name, learnt together with this
    weighting: Weighting = Weighting.FIXED
    head: HeadKind = HeadKind.SOFTMAX
    dropout: float = 0.0
    modality_dropout: float = 0.0  # chance to hide a modality of a training clip
    options: FusionOptions = field(default_factory=dict)  # of the fusion; what is not named has its default
    imputer: ImputerSpec | None = None  # what stands in for a missing modality; its numbers are fitted before training

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(sorted(self.inputs, key=lambda entry: entry.feature)))
        object.__setattr__(self, "options", _as_json_has_it(self.options))
        object.__setattr__(self, "goal_options", _as_json_has_it(self.goal_options))
        if not self.inputs or len(set(self.features)) != len(self.inputs):
            raise ConfigError(f"a model needs at least one input, each once, got {list(self.features)}")
        least = _FEWEST_NAMES.get(self.goal, 1)
        if len(self.classes) < least or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"a model needs at least {least} different classes, got {list(self.classes)}")
        if self.head is HeadKind.SIGMOID and len(self.classes) != 2:
            raise ConfigError(f"head = 'sigmoid' is one logit for two classes, the target has {len(self.classes)}")
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if wider := sorted(name for name, one in self.encoders.items() if one.width != self.encoder.width):
            raise ConfigError(f"encoders of {wider} have another width than the others, {self.encoder.width}")
        if strangers := sorted(set(self.encoders) - set(self.features)):
            raise ConfigError(f"encoders of {strangers}, which are no inputs; those are {list(self.features)}")

    @property
    def features(self) -> tuple[str, ...]:
        """Return the names of the inputs, sorted."""
        return tuple(entry.feature for entry in self.inputs)

    def encoder_of(self, feature: str) -> EncoderConfig:
        """Return how a feature is encoded."""
        return self.encoders.get(feature, self.encoder)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        encoders = {name: _known_json(self.encoders[name]) for name in self.features if name in self.encoders}
        options = {"options": self.options} if self.options else {}  # as models had it before there were any
        return {
            "fusion": self.fusion,
            "inputs": [{"feature": e.feature, "kind": e.kind.value, "dim": e.dim} for e in self.inputs],
            "classes": list(self.classes),
            "encoder": _known_json(self.encoder),
            "dropout": self.dropout,
            "modality_dropout": self.modality_dropout,
            **options,
            **({"encoders": encoders} if encoders else {}),
            **({"head": self.head.value} if self.head is not HeadKind.SOFTMAX else {}),
            **({"goal": self.goal.value} if self.goal is not Goal.CLASSIFY else {}),
            **({"goal_options": self.goal_options} if self.goal_options else {}),
            **({"also": {name: one.to_json() for name, one in self.also.items()}} if self.also else {}),
            **({"weighting": self.weighting.value} if self.weighting is not Weighting.FIXED else {}),
            **({"imputer": self.imputer.to_json()} if self.imputer else {}),
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Self:
        """Return the spec that `to_json` wrote; raise ConfigError where a key is missing, unknown or wrong."""
        known = {"fusion", "inputs", "classes", "encoder", "dropout", "modality_dropout"}
        came_later = {"options", "encoders", "head", "goal", "goal_options", "also", "weighting", "imputer"}
        if set(table) - came_later != known:
            raise ConfigError(f"a model spec needs the keys {sorted(known)}, got {sorted(table)}")
        try:
            inputs = tuple(InputSpec(**{**entry, "kind": FeatureKind(entry["kind"])}) for entry in table["inputs"])
            encoder, head = EncoderConfig(**table["encoder"]), HeadKind(table.get("head", HeadKind.SOFTMAX))
            goal, weighting = Goal(table.get("goal", Goal.CLASSIFY)), Weighting(table.get("weighting", Weighting.FIXED))
            also = {
                name: AlsoSpec(**{**entry, "goal": Goal(entry["goal"]), "classes": tuple(entry["classes"])})
                for name, entry in table.get("also", {}).items()
            }
            encoders = {name: EncoderConfig(**entry) for name, entry in table.get("encoders", {}).items()}
        except ValidationError as error:
            raise ConfigError(explain_validation(error, "model spec", EncoderConfig)) from error
        except (TypeError, KeyError, ValueError) as error:
            raise ConfigError(f"the model spec cannot be read: {error!r}") from error
        return cls(
            **{
                **table,
                "inputs": inputs,
                "classes": tuple(table["classes"]),
                "encoder": encoder,
                "encoders": encoders,
                "head": head,
                "goal": goal,
                "also": also,
                "weighting": weighting,
                "imputer": ImputerSpec.from_json(table["imputer"]) if "imputer" in table else None,
            }
        )


def _as_json_has_it(options: FusionOptions | GoalOptions) -> dict[str, Any]:
    """Return plain JSON values in a fixed order: a spec that was saved equals the one that is read back."""
    try:
        table = json.loads(json.dumps(dict(options), sort_keys=True, allow_nan=False, default=dict))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"options must be a table of plain values, got {options!r}") from error
    return dict(table)


def _known_json(config: EncoderConfig) -> dict[str, Any]:
    """Return a config without what came later and was not asked for: specs of before stay what they were."""
    return config.model_dump(mode="json", exclude=config.left_out())
