"""What can be chosen about a network that writes texts."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from mmpipe.config.table import Flag, Table


class Unit(StrEnum):
    """What a text is cut into."""

    WORD = "word"  # by white space
    CHARACTER = "character"  # a run of white space is one space


_OF_THE_DECODER = ("unit", "layers", "heads")
_OF_A_MODEL = ("revision", "offline", "frozen", "through_encoder", "sha256")


class GenerateOptions(Table):
    """How a text is written: by a small decoder that is trained from nothing, or by a model of transformers."""

    unit: Unit = Field(Unit.WORD, description="what is written at once: word or character; a `model` has its own")
    max_tokens: int = Field(0, ge=0, le=4096, description="longest answer with its end; 0: the longest of the labels")
    beam: int = Field(1, ge=1, le=64, description="answers that are followed at once; 1: always the likeliest token")
    length_power: float = Field(1.0, ge=0, le=4, description="answers compete by log probability / tokens ** this")
    layers: int = Field(1, ge=1, le=12, description="blocks of the small decoder")
    heads: int = Field(4, ge=1, le=64, description="of the small decoder; halved until they divide the encoder's width")
    model: str = Field("", description="instead of the small decoder, a model of transformers: a folder, or owner/name")
    revision: str | None = Field(None, description="40 hex digits; required for a model by hub id")
    offline: Flag = Field(True, description="never ask the hub; false: download what is missing")
    frozen: Flag = Field(True, description="keep the model's weights; false: they learn too")
    through_encoder: Flag = Field(
        True, description="tokens enter an encoder-decoder's encoder; false: they stand for what its encoder says"
    )
    sha256: str = Field("", description="of the model's files; where it is given, they must have it")

    @model_validator(mode="after")
    def _each_is_of_what_writes(self) -> Self:
        names, writer = (_OF_THE_DECODER, "the small decoder") if self.model else (_OF_A_MODEL, "a model")
        if wrong := [name for name in names if getattr(self, name) != type(self).model_fields[name].default]:
            there = "`model` is set" if self.model else "no `model` is set"
            raise ValueError(f"{', '.join(wrong)}: of {writer}, and {there}. Leave out one or the other")
        return self
