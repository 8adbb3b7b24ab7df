"""The network that a contender is: what the config and the training set say of it, as one spec."""

from __future__ import annotations

from typing import Any

from mmpipe.config import EncoderConfig, GoalOptions, ModelConfig
from mmpipe.steps.goals.base import FindsOptions
from mmpipe.steps.goals.registry import steps_of
from mmpipe.steps.train.candidates import Contender, options_of
from mmpipe.steps.train.training_set import TrainingSet


def contender_spec(model: ModelConfig, data: TrainingSet, contender: Contender) -> Any:
    """Return the `ModelSpec` of a contender."""
    from mmpipe.fusion.spec import AlsoSpec, InputSpec, ModelSpec

    return ModelSpec(
        fusion=contender.fusion,
        inputs=tuple(InputSpec(feature=s.feature, kind=s.kind, dim=s.dim) for s in contender.inputs),
        classes=data.classes,
        goal=model.goal,
        also={
            name: AlsoSpec(
                goal=one.goal, classes=data.also[name].names, goal_options=one.goal_options, weight=one.weight
            )
            for name, one in model.also.items()
        },
        weighting=model.weighting,
        goal_options=_goal_options(model, data),
        encoder=model.encoder,
        head=model.head,
        encoders={s.feature: encoder for s in contender.inputs if (encoder := own_encoder(model, s.feature))},
        dropout=model.train.dropout,
        modality_dropout=model.train.modality_dropout,
        options=options_of(model, contender),
    )


def _goal_options(model: ModelConfig, data: TrainingSet) -> GoalOptions:
    """Return what the config says of the goal, with what follows from the clips."""
    goal = steps_of(model.goal)
    return goal.options(model, data.schemas, data.targets_N) if isinstance(goal, FindsOptions) else model.goal_options


def own_encoder(model: ModelConfig, feature: str) -> EncoderConfig | None:
    """Return what the config says of one input alone: `audio-logmel@1` is `audio-logmel` there."""
    from mmpipe.fusion.backbones.registry import resolve_backbone

    name = feature.partition("@")[0]
    config = model.encoders.get(name)
    if config is None or config.backbone is None:
        return config
    backbone = resolve_backbone(config.backbone, f"models.encoders.{name}.backbone")
    return config.model_copy(update={"backbone": backbone})
