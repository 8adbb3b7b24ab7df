"""How a model is trained, and what it must show before it is released."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, field_validator, model_validator

from mmpipe.config.table import FeatureName, Name, Table


class OptimizerName(StrEnum):
    """Which optimiser trains."""

    ADAMW = "adamw"
    SGD = "sgd"


class TrainConfig(Table):
    """How one network is trained."""

    optimizer: OptimizerName = Field(OptimizerName.ADAMW, description="what changes the weights")
    learning_rate: float = Field(3e-3, gt=0, description="of the optimizer")
    weight_decay: float = Field(1e-2, ge=0, description="of the optimizer")
    momentum: float = Field(0.9, ge=0, lt=1, description="for sgd")
    epochs: int = Field(60, ge=1, description="most passes over the training clips")
    batch_clips: int = Field(64, ge=1, description="clips per step")
    patience_epochs: int = Field(12, ge=1, description="stop after so many epochs without a better validation loss")
    dropout: float = Field(0.1, ge=0, lt=1, description="chance to hide a value inside the network")
    modality_dropout: float = Field(0.0, ge=0, lt=1, description="chance to hide a modality of a training clip")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label that is spread over all classes")
    clip_norm: float = Field(5.0, gt=0, description="largest gradient norm")
    unimodal_weight: float = Field(0.2, ge=0, description="weight of the per-modality losses of a fused model")
    checkpoint_every_epochs: int = Field(5, ge=1, description="a killed training goes on from there")
    seeds: tuple[int, ...] = Field(
        (0,), min_length=1, description="the first is judged and released; what the others reach is told beside it"
    )


class EncoderConfig(Table):
    """What stands between a stored feature and its fusion."""

    segments: int = Field(5, ge=1, le=64, description="a sequence is averaged over so many ordered segments")
    components: int = Field(128, ge=0, description="principal components kept per modality; 0 keeps all")
    width: int = Field(64, ge=2, description="size of a modality's embedding")
    hidden_layers: int = Field(0, ge=0, le=4, description="0 is a linear encoder")


class ModelConfig(Table):
    """A family of candidates for one question; the gate releases at most one of them."""

    corpus: Name = Field(description="whose clips it learns from")
    target: str = Field(description="a column of the labels table, or `cue` for the text of the cue")
    inputs: tuple[FeatureName, ...] = Field(min_length=1, description="features that the model reads, by name")
    snapshot: str = Field("", description="name or digest of the snapshot to learn from; empty: what the store holds")
    fusions: tuple[str, ...] = Field(
        ("early_weighted", "concat", "late_weighted", "transformer"), description="that compete for the release"
    )
    encoder: EncoderConfig = EncoderConfig()
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
        return self


class GateConfig(Table):
    """What a fused model must show before it is released."""

    margin: float = Field(0.0, ge=0, le=1, description="the lower bound of its gain over the best single modality")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the interval of that gain")
    draws: int = Field(10_000, ge=100, description="bootstrap draws over groups")
    min_groups: int = Field(10, ge=2, description="with fewer groups the evidence is called weak, and tested by signs")
    max_calibration_error: float = Field(0.25, ge=0, le=1, description="expected calibration error")
    min_class_recall: float = Field(0.0, ge=0, le=1, description="of the class that is found least")
    regression_margin: float = Field(0.02, ge=0, le=1, description="how far below production a candidate may fall")
    promote: bool = Field(True, description="put what passes into production at once; false waits for a person")
    shuffled_control: bool = Field(True, description="train once on shuffled labels: it must stay at chance")
