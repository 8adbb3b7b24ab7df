"""All that decides the shape of a trained encoder, as one value that survives JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from mmpipe.config import Table, explain_validation
from mmpipe.errors import ConfigError

MODEL_TYPE = "mmpipe-encoder"  # in config.json of its release
TEXT_LSTM, AUDIO_SPEECH2VEC = "text-lstm", "audio-speech2vec"
EXPERIMENTAL = "experimental"  # status of their versions: no gate has judged them
KINDS = (AUDIO_SPEECH2VEC, TEXT_LSTM)


class EncoderSpec(Table):
    """An encoder but for its weights."""

    kind: Literal["text-lstm", "audio-speech2vec"]
    input: str = Field(description="the stored feature that it reads, as text-tokens@1")
    input_dim: int = Field(ge=1, description="numbers per row of the input; 1 for token ids")
    num_ids: int = Field(0, ge=0, description="token ids that the input may hold; 0 where it holds measurements")
    width: int = Field(128, ge=2, le=4096, multiple_of=2, description="size of an embedding")
    cell: Literal["lstm", "gru"] = Field("lstm", description="what the recurrent layers are made of")
    segment_rows: int = Field(50, ge=1, description="speech: rows of the input that make one segment")
    neighbours: int = Field(2, ge=1, le=8, description="speech: segments on either side that are predicted")

    def to_json(self) -> dict[str, Any]:
        """Return the content of config.json."""
        return {"model_type": MODEL_TYPE, "experimental": True, "spec": self.model_dump(mode="json")}


def spec_from_json(table: Mapping[str, Any]) -> EncoderSpec:
    """Return the spec that `to_json` wrote; raise ConfigError where it is another's."""
    if table.get("model_type") != MODEL_TYPE or not isinstance(table.get("spec"), dict):
        raise ConfigError(f"config.json does not describe a model of type {MODEL_TYPE!r}")
    try:
        return EncoderSpec(**table["spec"])
    except ValidationError as error:
        raise ConfigError(explain_validation(error, "encoder spec", EncoderSpec)) from error
