"""What every table of the config has in common: frozen, and strict about its keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Table(BaseModel):
    """A frozen config table that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
