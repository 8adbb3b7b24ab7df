"""What every table of the config has in common: frozen, and strict about its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mmpipe.remote import store_path

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
# A feature is an extractor's, or of one that reads a rendition: `audio-logmel`, `audio-logmel.clean`.
FEATURE_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}(\.[a-z0-9][a-z0-9_-]{0,62})?$"
FeatureName = Annotated[str, Field(pattern=FEATURE_PATTERN)]
# A folder or file of this machine, or a URL.
Place = Annotated[Path, BeforeValidator(lambda place: store_path(place) if isinstance(place, str) else place)]


class Table(BaseModel):
    """A frozen config table that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def split_feature(name: str) -> tuple[str, str]:
    """Return the extractor and the rendition that a feature's name says; "" where it reads the media as they are."""
    extractor, _, rendition = name.partition(".")
    return extractor, rendition
