"""Everything that decides the shape of a network, as one value that survives JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ValidationError

from mmpipe.config import EncoderConfig, explain_validation
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
    dropout: float = 0.0
    modality_dropout: float = 0.0  # chance to hide a modality of a training clip

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(sorted(self.inputs, key=lambda entry: entry.feature)))
        if not self.inputs or len(set(self.features)) != len(self.inputs):
            raise ConfigError(f"a model needs at least one input, each once, got {list(self.features)}")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"a model needs at least two different classes, got {list(self.classes)}")
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    @property
    def features(self) -> tuple[str, ...]:
        """Return the names of the inputs, sorted."""
        return tuple(entry.feature for entry in self.inputs)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {
            "fusion": self.fusion,
            "inputs": [{"feature": e.feature, "kind": e.kind.value, "dim": e.dim} for e in self.inputs],
            "classes": list(self.classes),
            "encoder": self.encoder.model_dump(mode="json"),
            "dropout": self.dropout,
            "modality_dropout": self.modality_dropout,
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Self:
        """Return the spec that `to_json` wrote; raise ConfigError where a key is missing, unknown or wrong."""
        known = {"fusion", "inputs", "classes", "encoder", "dropout", "modality_dropout"}
        if set(table) != known:
            raise ConfigError(f"a model spec needs the keys {sorted(known)}, got {sorted(table)}")
        try:
            inputs = tuple(InputSpec(**{**entry, "kind": FeatureKind(entry["kind"])}) for entry in table["inputs"])
            encoder = EncoderConfig(**table["encoder"])
        except ValidationError as error:
            raise ConfigError(explain_validation(error, "model spec")) from error
        except (TypeError, KeyError, ValueError) as error:
            raise ConfigError(f"the model spec cannot be read: {error!r}") from error
        return cls(**{**table, "inputs": inputs, "classes": tuple(table["classes"]), "encoder": encoder})
