"""A feature that reads a rendition of the media: an extractor, and how its media are prepared before it sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mmpipe.config import Modulation, Table
from mmpipe.types import ClipMedia, FeatureSchema, FeatureValue, Modality, Needs

if TYPE_CHECKING:
    from mmpipe.features.extractor import Extractor


class Rendition(Table):
    """All that decides how media are prepared: equal values prepare equally. What is not asked for is None."""

    modality: Modulation
    filters: tuple[str, ...] | None = None  # in one spelling
    ffmpeg: str | None = None  # version of the program that runs them
    snr_db: float | None = None
    bank: str | None = None  # name of the noise bank
    bank_sha256: str | None = None  # what it holds; "" before it is made
    blur_px: float | None = None
    block_share: float | None = None
    seed: int | None = None  # where something is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An extractor behind a preparation: name, schema and fingerprint say both."""

    extractor: Extractor
    rendition_name: str
    rendition: Rendition

    @property
    def name(self) -> str:
        """Return the name in the config: audio-logmel.clean."""
        return f"{self.extractor.name}.{self.rendition_name}"

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
        described = f"{made.description}, of the rendition `{self.rendition_name}`".removeprefix(", ")
        return replace(made, feature=f"{self.name}@{self.version}", description=described)

    @property
    def weights_sha256(self) -> str:
        """Return the digest of the extractor's weights."""
        return self.extractor.weights_sha256

    def setup(self, device: str) -> None:
        """Load what the extractor needs."""
        self.extractor.setup(device)

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return what the extractor makes of media that are prepared already."""
        return self.extractor.extract(batch)
