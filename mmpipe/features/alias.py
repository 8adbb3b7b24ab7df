"""A feature under a name of its own: an extractor with other parameters, whose values are another dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmpipe.features.wrapper import Wrapper
from mmpipe.types import FeatureSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias(Wrapper):
    """An extractor but for its name: its values, and so its fingerprint, are those of the extractor behind it."""

    name: str

    @property
    def schema(self) -> FeatureSchema:
        """Return what the values look like, under this name."""
        made = self.extractor.schema
        described = f"{made.description} (`{self.extractor.name}` with parameters of its own)"
        return replace(made, feature=f"{self.name}@{self.version}", description=described)
