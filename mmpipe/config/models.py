"""How a model is trained, and what it must show before it is released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from mmpipe.config.encoding import EncoderConfig, HeadKind
from mmpipe.config.finetune import FinetuneConfig
from mmpipe.config.goals import GOAL_OPTIONS, Goal, GoalOptions
from mmpipe.config.joint import JOINT_GOALS, AlsoConfig, Weighting
from mmpipe.config.retrieving import RetrieveOptions, sides_of
from mmpipe.config.table import FeatureName, Name, Table
from mmpipe.config.training import ClassBalance, TrainConfig
from mmpipe.config.tune import TuneConfig

# What a fusion takes: its own file says which, and checks them. A table in it is by input.
FusionOptions = Mapping[str, bool | int | float | str | tuple[float, ...] | Mapping[str, float]]


class ModelConfig(Table):
    """A family of candidates for one question; the gate releases at most one of them."""

    added: ClassVar[frozenset[str]] = frozenset(
        {"fusion_options", "encoders", "head", "goal", "goal_options", "also", "weighting", "finetune"}
    )
    beside: ClassVar[frozenset[str]] = frozenset({"tune"})  # a search has a digest of its own

    corpus: Name = Field(description="whose clips it learns from")
    target: str = Field(description="a column of the labels table, or `cue` for the text of the cue")
    goal: Goal = Field(Goal.CLASSIFY, description="what it is to say of a clip; see the README")
    goal_options: GoalOptions = Field({}, description="what the goal takes: `goal_options.likelihood = 'full'`")
    also: Mapping[Name, AlsoConfig] = Field({}, description="more answers that its networks learn to give, by a name")
    weighting: Weighting = Field(Weighting.FIXED, description="of the losses of `also`: fixed, or learnt uncertainty")
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
    tune: TuneConfig = TuneConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    folds: int = Field(0, ge=0, le=100, description="0: the fixed split; k >= 2: every clip is tested once, by group")

    @field_validator("folds")
    @classmethod
    def _one_fold_is_none(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("folds must be 0 (the fixed split) or at least 2")
        return folds

    @model_validator(mode="after")
    def _the_goal_takes_its_options(self) -> Self:
        known = GOAL_OPTIONS[self.goal]
        try:
            known(**self.goal_options)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ValueError(
                f"goal_options of the goal {self.goal.value!r}: {faults}; it takes {sorted(known.model_fields)}"
            ) from error
        if self.goal is Goal.RETRIEVE:
            sides_of(self.inputs, RetrieveOptions(**self.goal_options).query)
        if self.goal is not Goal.CLASSIFY and self.head is not HeadKind.SOFTMAX:
            raise ValueError(f"head = {self.head.value!r} is for goal = 'classify', this is {self.goal.value!r}")
        if self.goal is not Goal.CLASSIFY and (of_classes := self._training_of_classes()):
            raise ValueError(f"train.{of_classes} is for goal = 'classify', this is {self.goal.value!r}")
        return self

    @model_validator(mode="after")
    def _answers_go_together(self) -> Self:
        if not self.also:
            return self
        if self.goal not in JOINT_GOALS:
            raise ValueError(f"`also` goes with a goal among {list(JOINT_GOALS)}, this is {self.goal.value!r}")
        for wrong in ("mixup_alpha", "balance_alpha"):
            if getattr(self.train, wrong):
                raise ValueError(f"train.{wrong} is for a single answer: leave it out, or `also`")
        if self.train.class_balance is not ClassBalance.NONE:
            raise ValueError("train.class_balance is for a single answer: leave it out, or `also`")
        return self

    def _training_of_classes(self) -> str:
        """Return a setting of the training that speaks of classes, "" where there is none."""
        train = self.train
        set_ones = {
            "class_balance": train.class_balance is not ClassBalance.NONE,
            "balance_alpha": train.balance_alpha > 0,
            "label_smoothing": train.label_smoothing > 0 and self.goal not in (Goal.TAG, Goal.GENERATE),
        }
        return next((name for name, is_set in set_ones.items() if is_set), "")

    @model_validator(mode="after")
    def _the_start_is_judged_by_validation(self) -> Self:
        if self.finetune != FinetuneConfig() and self.train.refit:
            raise ValueError("train.refit is for networks that begin at random: give it, or finetune")
        return self

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
        self.finetune.require_groups(self.inputs, self.encoders)
        self.finetune.require_epochs(self.train.epochs)
        return self
