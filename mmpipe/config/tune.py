"""What a search for better settings tries: ranges and choices by the key that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from mmpipe.config.encoding import EncoderConfig, EncoderKind
from mmpipe.config.table import Table
from mmpipe.config.training import ClassBalance, OptimizerName, ScheduleName, TrainConfig

LOGARITHMIC = frozenset({"learning_rate", "weight_decay"})  # drawn by their logarithm, unless the range begins at 0
RANGES = (  # keys of models.NAME.train, tried between two ends
    *("learning_rate", "weight_decay", "dropout", "modality_dropout", "label_smoothing", "mixup_alpha"),
    *("unimodal_weight", "balance_alpha", "warmup_epochs", "ema_decay"),
)
CHOICES = ("batch_clips", "optimizer", "schedule", "class_balance")


def _two_ends(ends: tuple[float, ...]) -> tuple[float, ...]:
    if len(ends) not in (0, 2) or (ends and not ends[0] < ends[1]):
        raise ValueError(f"a range is [low, high] with low < high, or [] to leave the value as it is; got {list(ends)}")
    return ends


def _require_allowed(table: type[Table], values: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse a value that its own table would not take."""
    for name, tried in values.items():
        for value in tried:
            try:
                table(**{name: value})
            except ValidationError as error:
                raise ValueError(f"{name} = {value!r} cannot be tried: {error.errors()[0]['msg']}") from error


Range = Annotated[tuple[float, ...], AfterValidator(_two_ends)]
OptionChoices = Mapping[str, tuple[bool | int | float | str, ...]]


class Measure(StrEnum):
    """What a trial is judged by, on validation clips."""

    SCORE = "score"  # what `mmpipe train` chooses its contender by
    LOSS = "loss"


class Pruner(StrEnum):
    """When a trial that does badly is ended before its last epoch."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    NONE = "none"


class TunedParts(StrEnum):
    """Which parts of the folds a trial is trained on."""

    FIRST = "first"
    ALL = "all"


class TuneEncoderConfig(Table):
    """What is tried of the encoders; no choices: as the model has it."""

    width: tuple[int, ...] = Field((32, 64, 128), description="choices for every input's encoder")
    kind: tuple[EncoderKind, ...] = Field((), description="choices, of `encoder` alone")
    hidden_layers: tuple[int, ...] = Field((), description="choices, of `encoder` alone")
    layers: tuple[int, ...] = Field((), description="choices, of `encoder` alone")
    components: tuple[int, ...] = Field((), description="choices, of `encoder` alone")
    segments: tuple[int, ...] = Field((), description="choices, of `encoder` alone; features are pooled anew for each")

    @model_validator(mode="after")
    def _choices_are_allowed(self) -> Self:
        _require_allowed(EncoderConfig, {name: getattr(self, name) for name in type(self).model_fields})
        return self


class TuneConfig(Table):
    """What a search for better settings tries; a range or choices that are [] leave the model's own value."""

    fusions: tuple[str, ...] = Field((), description="that are tried; none: the model's `fusions`")
    learning_rate: Range = Field((1e-4, 1e-2), description="range, by its logarithm")
    weight_decay: Range = Field((1e-4, 1e-1), description="range, by its logarithm")
    dropout: Range = Field((0.0, 0.5), description="range")
    modality_dropout: Range = Field((0.0, 0.4), description="range; of several inputs")
    label_smoothing: Range = Field((), description="range")
    mixup_alpha: Range = Field((), description="range")
    unimodal_weight: Range = Field((), description="range; of several inputs")
    balance_alpha: Range = Field((), description="range; of several inputs")
    warmup_epochs: Range = Field((), description="range")
    ema_decay: Range = Field((), description="range")
    batch_clips: tuple[int, ...] = Field((32, 64, 128), description="choices")
    optimizer: tuple[OptimizerName, ...] = Field((), description="choices")
    schedule: tuple[ScheduleName, ...] = Field((), description="choices")
    class_balance: tuple[ClassBalance, ...] = Field((), description="choices")
    encoder: TuneEncoderConfig = TuneEncoderConfig()
    fusion_options: Mapping[str, OptionChoices] = Field(
        {}, description="choices by fusion and option: `fusion_options.lmf.rank = [2, 4, 8]`"
    )
    measure: Measure = Field(Measure.SCORE, description="of the validation clips; score: higher, loss: lower is better")
    parts: TunedParts = Field(TunedParts.FIRST, description="with folds: train on the first part, or on all of them")
    pruner: Pruner = Field(Pruner.MEDIAN, description="who ends a trial that does badly")
    startup_trials: int = Field(10, ge=1, description="drawn at random before the search begins to learn from them")
    seed: int = Field(0, ge=0, description="of what is tried; how a trial is trained is seeded by train.seeds")
    top: int = Field(3, ge=0, description="so many of the best are trained again with every one of `seeds`; 0: none")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="of those trainings; their mean decides")

    @model_validator(mode="after")
    def _values_are_allowed(self) -> Self:
        _require_allowed(TrainConfig, {name: getattr(self, name) for name in (*RANGES, *CHOICES)})
        return self
