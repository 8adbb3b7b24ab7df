"""How a model is trained, and what it must show before it is released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from mmpipe.config.encoding import EncoderConfig, HeadKind
from mmpipe.config.table import FeatureName, Name, Table
from mmpipe.config.training import TrainConfig

# What a fusion takes: its own file says which, and checks them. A table in it is by input.
FusionOptions = Mapping[str, bool | int | float | str | tuple[float, ...] | Mapping[str, float]]


class ModelConfig(Table):
    """A family of candidates for one question; the gate releases at most one of them."""

    added: ClassVar[frozenset[str]] = frozenset({"fusion_options", "encoders", "head"})

    corpus: Name = Field(description="whose clips it learns from")
    target: str = Field(description="a column of the labels table, or `cue` for the text of the cue")
    inputs: tuple[FeatureName, ...] = Field(min_length=1, description="features that the model reads, by name")
    snapshot: str = Field("", description="name or digest of the snapshot to learn from; empty: what the store holds")
    fusions: tuple[str, ...] = Field(
        ("early_weighted", "concat", "late_weighted", "transformer"), description="that compete for the release"
    )
    fusion_options: Mapping[str, FusionOptions] = Field(
        {}, description="what a fusion takes, by its name: `fusion_options.lmf.rank = 8`; see: mmpipe fusions"
    )
    head: HeadKind = Field(HeadKind.SOFTMAX, description="sigmoid: one logit for two classes")
    encoder: EncoderConfig = EncoderConfig()
    encoders: Mapping[FeatureName, EncoderConfig] = Field(
        {}, description="of single inputs, instead of `encoder`; all have one width"
    )
    train: TrainConfig = TrainConfig()
    folds: int = Field(0, ge=0, le=100, description="0: the fixed split; k >= 2: every clip is tested once, by group")

    @field_validator("folds")
    @classmethod
    def _one_fold_is_none(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("folds must be 0 (the fixed split) or at least 2")
        return folds

    @model_validator(mode="after")
    def _several_inputs_are_fused(self) -> Self:
        if len(self.inputs) > 1 and not self.fusions:
            raise ValueError("fusions = [] with several inputs: name a fusion, or leave one input")
        if strangers := sorted(set(self.encoders) - set(self.inputs)):
            raise ValueError(f"encoders of {strangers}, which are not among `inputs` {list(self.inputs)}")
        if self.encoder.backbone:
            raise ValueError("a backbone is of one input: set it as `encoders.FEATURE.backbone`")
        if wider := sorted(name for name, one in self.encoders.items() if one.width != self.encoder.width):
            raise ValueError(f"encoders of {wider} have another width than encoder.width = {self.encoder.width}")
        if strangers := sorted(set(self.fusion_options) - set(self.fusions)):
            raise ValueError(f"fusion_options of {strangers}, which are not among `fusions` {list(self.fusions)}")
        return self
