"""A feature under a name of its own: an extractor with other parameters, whose values are another dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mmpipe.config import Table
from mmpipe.types import ClipMedia, FeatureSchema, FeatureValue, Modality, Needs

if TYPE_CHECKING:
    from mmpipe.features.extractor import Extractor


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """An extractor but for its name: its values, and so its fingerprint, are those of the extractor behind it."""

    name: str
    extractor: Extractor

    @property
    def version(self) -> int:
        """Return the version of the extractor."""
        return self.extractor.version

    @property
    def modality(self) -> Modality:
        """Return the modality that the extractor reads."""
        return self.extractor.modality

    @property
    def params(self) -> Table:
        """Return the parameters of the extractor."""
        return self.extractor.params

    @property
    def needs(self) -> Needs:
        """Return the form in which the extractor wants the media."""
        return self.extractor.needs

    @property
    def schema(self) -> FeatureSchema:
        """Return what the values look like, under this name."""
        made = self.extractor.schema
        described = f"{made.description} (`{self.extractor.name}` with parameters of its own)"
        return replace(made, feature=f"{self.name}@{self.version}", description=described)

    @property
    def weights_sha256(self) -> str:
        """Return the digest of the extractor's weights."""
        return self.extractor.weights_sha256

    def setup(self, device: str) -> None:
        """Load what the extractor needs."""
        self.extractor.setup(device)

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return what the extractor makes."""
        return self.extractor.extract(batch)
