"""A feature that reads a rendition of the media: an extractor, and how its media are prepared before it sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmpipe.config import Modulation, Table
from mmpipe.features.wrapper import Wrapper
from mmpipe.types import FeatureSchema


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
class Prepared(Wrapper):
    """An extractor behind a preparation: name, schema and fingerprint say both."""

    rendition_name: str
    rendition: Rendition

    @property
    def name(self) -> str:
        """Return the name in the config: audio-logmel.clean."""
        return f"{self.extractor.name}.{self.rendition_name}"

    @property
    def schema(self) -> FeatureSchema:
        """Return what the values look like, under this name."""
        made = self.extractor.schema
        described = f"{made.description}, of the rendition `{self.rendition_name}`".removeprefix(", ")
        return replace(made, feature=f"{self.name}@{self.version}", description=described)
