"""Which imputer a network has, as a value that survives JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mmpipe.config import Imputation
from mmpipe.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImputerSpec:
    """An imputer but for its numbers: its method, and what decides the shapes of its tensors."""

    method: Imputation
    sizes: Mapping[str, int] = field(default_factory=dict)  # what they are called is the method's own

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {"method": self.method.value, "sizes": dict(sorted(self.sizes.items()))}

    @classmethod
    def from_json(cls, table: Any) -> Self:
        """Return the spec that `to_json` wrote; raise ConfigError."""
        try:
            sizes = {str(name): int(size) for name, size in table["sizes"].items()}
            return cls(method=Imputation(table["method"]), sizes=sizes)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ConfigError(f"the imputer of a model spec cannot be read: {error!r}") from error
