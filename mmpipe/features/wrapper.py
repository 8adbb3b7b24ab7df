"""What a feature has of the extractor behind it: all but its name and what its schema says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmpipe.config import Table
from mmpipe.types import ClipMedia, FeatureValue, Modality, Needs

if TYPE_CHECKING:
    from mmpipe.features.extractor import Extractor


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """An extractor behind another name; who wraps it says `name` and `schema`."""

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
    def weights_sha256(self) -> str:
        """Return the digest of the extractor's weights."""
        return self.extractor.weights_sha256

    def setup(self, device: str) -> None:
        """Load what the extractor needs."""
        self.extractor.setup(device)

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return what the extractor makes of media, which are prepared already where they are to be."""
        return self.extractor.extract(batch)
