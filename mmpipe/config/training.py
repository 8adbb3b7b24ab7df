"""How one network is trained."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self

from pydantic import Field, model_validator

from mmpipe.config.table import Table


class OptimizerName(StrEnum):
    """Which optimiser trains."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


class ScheduleName(StrEnum):
    """How the learning rate goes on after its warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    LINEAR = "linear"
    STEP = "step"


class ClassBalance(StrEnum):
    """What is done for rare classes."""

    NONE = "none"
    WEIGHTS = "weights"
    SAMPLING = "sampling"


class Determinism(StrEnum):
    """How far the same input gives the same bytes."""

    STRICT = "strict"
    FAST = "fast"


class Precision(StrEnum):
    """In what numbers the forward pass is computed."""

    FLOAT32 = "float32"
    BF16 = "bf16"


class TrainDevice(StrEnum):
    """Where a network is trained."""

    CPU = "cpu"
    CUDA = "cuda"


class TrackerName(StrEnum):
    """Who is told of every epoch, beside the log of the fit."""

    MLFLOW = "mlflow"
    WANDB = "wandb"  # always offline


class Imputation(StrEnum):
    """What a fused network is given for a modality that a clip lacks."""

    OFF = "off"
    MEAN = "mean"
    RIDGE = "ridge"
    KNN = "knn"
    GAN = "gan"


class TrainConfig(Table):
    """How one network is trained."""

    added: ClassVar[frozenset[str]] = frozenset(
        {
            "schedule",
            "warmup_steps",
            "warmup_epochs",
            "final_rate",
            "step_epochs",
            "step_factor",
            "accumulate_steps",
            "ema_decay",
            "mixup_alpha",
            "mask_segments",
            "mask_dimensions",
            "balance_alpha",
            "balance_noise",
            "class_balance",
            "determinism",
            "precision",
            "device",
            "max_bad_steps",
            "crop_share",
            "flip",
            "light_jitter",
            "frame_share",
            "refit",
            "impute",
        }
    )
    # How often to save and what to tell decide nothing about the network.
    beside: ClassVar[frozenset[str]] = frozenset(
        {"checkpoint_every_steps", "checkpoint_every_s", "tensorboard", "trackers"}
    )

    optimizer: OptimizerName = Field(OptimizerName.ADAMW, description="what changes the weights")
    learning_rate: float = Field(3e-3, gt=0, description="of the optimizer")
    schedule: ScheduleName = Field(ScheduleName.CONSTANT, description="of the learning rate, after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="the learning rate grows to its value over so many steps")
    warmup_epochs: float = Field(0.0, ge=0, description="the same in epochs; one of the two")
    final_rate: float = Field(0.0, ge=0, le=1, description="share of the learning rate where cosine and linear end")
    step_epochs: int = Field(10, ge=1, description="for schedule = step: epochs between two steps")
    step_factor: float = Field(0.1, gt=0, le=1, description="for schedule = step: what each step multiplies by")
    weight_decay: float = Field(1e-2, ge=0, description="of the optimizer; for adam added to the gradient")
    momentum: float = Field(0.9, ge=0, lt=1, description="for sgd")
    epochs: int = Field(60, ge=1, description="most passes over the training clips")
    batch_clips: int = Field(64, ge=1, description="clips that go through the network at once")
    accumulate_steps: int = Field(1, ge=1, description="so many batches make one step of the optimizer")
    patience_epochs: int = Field(12, ge=1, description="stop after so many epochs without a better validation loss")
    refit: bool = Field(False, description="train anew with the validation clips too, for as many epochs as they chose")
    dropout: float = Field(0.1, ge=0, lt=1, description="chance to hide a value inside the network")
    modality_dropout: float = Field(0.0, ge=0, lt=1, description="chance to hide a modality of a training clip")
    impute: Imputation = Field(
        Imputation.OFF, description="fills in a missing modality from the others, where it beats simpler guesses"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label that is spread over all classes")
    mixup_alpha: float = Field(0.0, ge=0, description="clips are mixed in pairs, by shares of Beta(a, a); 0: off")
    mask_segments: int = Field(0, ge=0, description="longest run of a sequence's segments or steps that it hides")
    mask_dimensions: int = Field(0, ge=0, description="most neighbouring dimensions of a sequence that it hides")
    crop_share: float = Field(1.0, gt=0, le=1, description="least side of a part cut out of stored pictures; 1: off")
    flip: bool = Field(False, description="mirror the stored pictures of half of the training clips")
    light_jitter: float = Field(0.0, ge=0, lt=1, description="share by which light and contrast of pictures change")
    frame_share: float = Field(
        1.0, gt=0, le=1, description="least share of a clip's stored frames that it uses; 1: all"
    )
    class_balance: ClassBalance = Field(ClassBalance.NONE, description="weigh the loss by class, or sample evenly")
    balance_alpha: float = Field(0.0, ge=0, description="how hard the leading modality's encoder is held back; 0: off")
    balance_noise: bool = Field(True, description="with balance_alpha: noise of the gradients' size on every encoder")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of a running mean of the weights, which is kept; 0: off")
    clip_norm: float = Field(5.0, gt=0, description="largest gradient norm")
    unimodal_weight: float = Field(0.2, ge=0, description="weight of the per-modality losses of a fused model")
    max_bad_steps: int = Field(0, ge=0, description="so many steps may be skipped for a gradient that is not finite")
    determinism: Determinism = Field(Determinism.STRICT, description="fast: all cores, sums in any order")
    device: TrainDevice = Field(TrainDevice.CPU, description="where the network is trained")
    precision: Precision = Field(Precision.FLOAT32, description="bf16: mixed, on cuda only")
    checkpoint_every_epochs: int = Field(5, ge=1, description="a killed training goes on from there")
    checkpoint_every_steps: int = Field(0, ge=0, description="... and from within an epoch, after so many steps; 0: no")
    checkpoint_every_s: float = Field(0.0, ge=0, description="... or after so many seconds; 0: no")
    tensorboard: bool = Field(False, description="write event files for TensorBoard beside the log of every fit")
    trackers: tuple[TrackerName, ...] = Field(
        (), description="also told of every fit, in the store's _runs: mlflow (or where MMPIPE_MLFLOW_URI says), wandb"
    )
    seeds: tuple[int, ...] = Field(
        (0,), min_length=1, description="the first is judged and released; what the others reach is told beside it"
    )

    @model_validator(mode="after")
    def _they_go_together(self) -> Self:
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("warmup_steps and warmup_epochs are two ways to say one thing: give one")
        if self.refit and self.impute is not Imputation.OFF:
            raise ValueError("refit teaches the clips that judge an imputer: give refit, or impute")
        if self.precision is Precision.BF16 and self.device is not TrainDevice.CUDA:
            raise ValueError('precision = "bf16" needs device = "cuda"')
        return self
