"""What every table of the config has in common: frozen, and strict about its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mmpipe.remote import store_path

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
# What a field names in its `json_schema_extra` where none stands for a default that depends on its neighbours.
USUAL = "usual"
# A feature is an extractor's, or of one that reads a rendition: `audio-logmel`, `audio-logmel.clean`.
FEATURE_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}(\.[a-z0-9][a-z0-9_-]{0,62})?$"
FeatureName = Annotated[str, Field(pattern=FEATURE_PATTERN)]
# A folder or file of this machine, or a URL.
Place = Annotated[Path, BeforeValidator(lambda place: store_path(place) if isinstance(place, str) else place)]


def _true_or_false(value: object) -> object:
    found = {"true": True, "false": False}.get(value) if isinstance(value, str) else value  # as the environment has it
    if not isinstance(found, bool):
        raise ValueError("must be true or false")
    return found


# A bool that no other word stands for: "yes" or 1 is a mistake that would pass for a setting.
Flag = Annotated[bool, BeforeValidator(_true_or_false)]


class Table(BaseModel):
    """A frozen config table that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # Fields that came after digests of this table were kept: at their defaults they are left out of digests, so that
    # a new version of mmpipe does not call stale what it would make again bit by bit.
    added: ClassVar[frozenset[str]] = frozenset()
    # Fields that decide nothing about what is made: no digest has them.
    beside: ClassVar[frozenset[str]] = frozenset()

    def left_out(self) -> dict[str, Any]:
        """Return what a digest leaves out of this table and those in it, as pydantic's `exclude`."""
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            is_new = name in self.added and value == field.get_default(call_default_factory=True)
            if is_new or name in self.beside:
                found[name] = True
            elif isinstance(value, Table) and (inner := value.left_out()):
                found[name] = inner
        return found


def split_feature(name: str) -> tuple[str, str]:
    """Return the extractor and the rendition that a feature's name says; "" where it reads the media as they are."""
    extractor, _, rendition = name.partition(".")
    return extractor, rendition
