"""What stands between a stored feature and its fusion."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from mmpipe.config.table import Flag, Table


class EncoderKind(StrEnum):
    """Which network encodes a modality."""

    MLP = "mlp"  # every step alone, or all in one
    IDENTITY = "identity"
    CNN = "cnn"
    TCN = "tcn"
    LSTM = "lstm"
    GRU = "gru"
    TRANSFORMER = "transformer"


class HeadKind(StrEnum):
    """How class scores come from a vector."""

    SOFTMAX = "softmax"  # a score per class
    SIGMOID = "sigmoid"  # one logit for two classes: binary cross-entropy


class BackboneKind(StrEnum):
    """Which network learns from what is stored as it is."""

    VGG16 = "vgg16"
    RESNET50 = "resnet50"
    SMALL_CNN = "small_cnn"
    BERT = "bert"


class BackboneConfig(Table):
    """A network before the encoder, for stored pictures (`image-pixels`, `video-pixels`) or ids (`text-tokens`)."""

    kind: BackboneKind = Field(description="bert reads tokens, the others pictures")
    weights: str = Field(
        "random", description="what it begins from: random, a .safetensors file of VGG16 or ResNet50, a model of BERT"
    )
    revision: str | None = Field(None, description="40 hex digits; required for a BERT by hub id")
    offline: Flag = Field(True, description="never ask the hub; false: download what is missing")
    frozen: Flag = Field(False, description="keep its weights as they begin")
    picture_shape: tuple[int, int, int] | None = Field(
        None, description="height, width, colours of stored pictures; none: they are square"
    )
    architecture: Mapping[str, Any] = Field(
        {}, description="of a random bert, as its config.json: hidden_size, num_hidden_layers, ..."
    )
    sha256: str = Field(
        "", description="of the weights that it begins from: found; where it is given, they must have it"
    )

    @property
    def reads_pictures(self) -> bool:
        """Say whether it reads pictures; else it reads tokens."""
        return self.kind is not BackboneKind.BERT


class EncoderConfig(Table):
    """How a modality comes to the width that all share."""

    added: ClassVar[frozenset[str]] = frozenset(
        {"backbone", "kind", "steps", "layers", "kernel", "heads", "bidirectional"}
    )

    backbone: BackboneConfig | None = Field(None, description="a network before it, for stored pictures and tokens")
    kind: EncoderKind = Field(EncoderKind.MLP, description="the network; all but mlp and identity look across steps")
    steps: int = Field(
        0, ge=0, le=4096, description="time steps that are kept of a sequence, longer ones averaged; 0: `segments`"
    )
    segments: int = Field(5, ge=1, le=64, description="a sequence is averaged over so many ordered segments")
    components: int = Field(128, ge=0, description="principal components kept per modality; 0 keeps all")
    width: int = Field(64, ge=2, description="size of a modality's embedding")
    hidden_layers: int = Field(0, ge=0, le=4, description="of mlp; 0 is a linear encoder")
    layers: int = Field(1, ge=1, le=12, description="of cnn, tcn, lstm, gru, transformer")
    kernel: int = Field(3, ge=1, le=31, description="steps that a convolution of cnn or tcn looks at; odd")
    heads: int = Field(4, ge=1, le=32, description="of transformer; they share the width")
    bidirectional: bool = Field(False, description="lstm and gru also read from the end")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel = {self.kernel}: a convolution looks as far back as ahead, so it must be odd")
        if self.kind is EncoderKind.TRANSFORMER and self.width % self.heads:
            raise ValueError(f"width = {self.width} cannot be shared by heads = {self.heads}: make it a multiple")
        return self

    @property
    def num_steps(self) -> int:
        """Return the steps of a sequence that a network reads."""
        return self.steps or self.segments
