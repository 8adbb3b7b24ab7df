"""A feature that nobody here computes: the identity of an extractor, for values that another team publishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from mmpipe.config import Table
from mmpipe.types import ClipMedia, FeatureSchema, FeatureValue, Modality, Needs


class NoParams(Table):
    """Nothing to set: the pin decides everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFeature:
    """An extractor in name, version, schema and fingerprint; asking it for a value is a fault of ours."""

    name: str
    schema: FeatureSchema
    pin_sha256: str  # the fingerprint

    @property
    def version(self) -> int:
        """Return the version: theirs changes by pins, the shape never."""
        return int(self.schema.feature.rpartition("@")[2])

    @property
    def modality(self) -> Modality:
        """Return the modality that it counts as."""
        return self.schema.modality

    @property
    def params(self) -> Table:
        """Return no parameters."""
        return NoParams()

    @property
    def weights_sha256(self) -> str:
        """Return the digest of what stands in for weights: the pin."""
        return self.pin_sha256

    @property
    def needs(self) -> Needs:
        """Refuse: no media is read for it."""
        self._refuse()

    def setup(self, device: str) -> None:
        """Refuse: there is nothing to load."""
        self._refuse()

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Refuse: there is nothing to compute."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TypeError(f"{self.schema.feature} is copied from another team's files, not computed from media")
