"""Everything that decides the shape of a network, as one value that survives JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ValidationError

from mmpipe.config import EncoderConfig, FusionOptions, HeadKind, explain_validation
from mmpipe.errors import ConfigError
from mmpipe.types import FeatureKind


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
class ModelSpec:
    """A network but for its weights. Inputs are kept sorted by name: the order they came in never matters."""

    fusion: str
    inputs: tuple[InputSpec, ...]
    classes: tuple[str, ...]
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    encoders: Mapping[str, EncoderConfig] = field(default_factory=dict)  # of single features, instead of `encoder`
    head: HeadKind = HeadKind.SOFTMAX
    dropout: float = 0.0
    modality_dropout: float = 0.0  # chance to hide a modality of a training clip
    options: FusionOptions = field(default_factory=dict)  # of the fusion; what is not named has its default

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(sorted(self.inputs, key=lambda entry: entry.feature)))
        object.__setattr__(self, "options", _as_json_has_it(self.options))
        if not self.inputs or len(set(self.features)) != len(self.inputs):
            raise ConfigError(f"a model needs at least one input, each once, got {list(self.features)}")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"a model needs at least two different classes, got {list(self.classes)}")
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
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Self:
        """Return the spec that `to_json` wrote; raise ConfigError where a key is missing, unknown or wrong."""
        known = {"fusion", "inputs", "classes", "encoder", "dropout", "modality_dropout"}
        if set(table) - {"options", "encoders", "head"} != known:
            raise ConfigError(f"a model spec needs the keys {sorted(known)}, got {sorted(table)}")
        try:
            inputs = tuple(InputSpec(**{**entry, "kind": FeatureKind(entry["kind"])}) for entry in table["inputs"])
            encoder, head = EncoderConfig(**table["encoder"]), HeadKind(table.get("head", HeadKind.SOFTMAX))
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
            }
        )


def _as_json_has_it(options: FusionOptions) -> dict[str, Any]:
    """Return plain JSON values in a fixed order: a spec that was saved equals the one that is read back."""
    try:
        table = json.loads(json.dumps(dict(options), sort_keys=True, allow_nan=False, default=dict))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the options of a fusion must be a table of plain values, got {options!r}") from error
    return dict(table)


def _known_json(config: EncoderConfig) -> dict[str, Any]:
    """Return a config without what came later and was not asked for: specs of before stay what they were."""
    return config.model_dump(mode="json", exclude=config.left_out())
