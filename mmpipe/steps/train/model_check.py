"""Build the networks of a model without memory or data: what cannot be trained is found before anything is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmpipe.config import Config, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.steps.plan.feature_set import resolve_feature
from mmpipe.steps.plan.model_names import check_model_names
from mmpipe.steps.train.candidates import Contender, list_contenders, options_of
from mmpipe.steps.train.contender_spec import own_encoder
from mmpipe.types import FeatureSchema

if TYPE_CHECKING:
    from mmpipe.fusion.spec import ModelSpec

_TWO = ("one", "other")  # classes that stand for those that only labels will tell


def check_networks(config: Config, name: str) -> tuple[str, ...]:
    """Build every contender of a model without memory; return those that were. Raise ConfigError that names the fault.

    Nothing is downloaded here: a contender whose backbone may fetch its weights, and has not, is left to the training.
    """
    from mmpipe.fusion.check import check_network

    model = config.models[name]
    check_model_names(config.model_copy(update={"models": {name: model}}))
    schemas = sorted((resolve_feature(config, one, model.corpus).schema for one in model.inputs), key=_feature)
    built = []
    for contender in list_contenders(model, schemas):
        try:
            spec = _spec(model, contender)
        except ConfigError as error:
            if not _may_fetch(model, contender):
                raise ConfigError(f"models.{name}, contender {contender.name}: {error}") from error
            continue
        try:
            check_network(spec)
        except ConfigError as error:
            raise ConfigError(f"models.{name}, contender {contender.name}: {error}") from error
        built.append(contender.name)
    return tuple(built)


def _spec(model: ModelConfig, contender: Contender) -> ModelSpec:
    """Return a contender's network but for its answers: what they are of, labels alone will tell."""
    from mmpipe.fusion.spec import InputSpec, ModelSpec

    encoders = {schema.feature: own_encoder(_offline(model), schema.feature) for schema in contender.inputs}
    return ModelSpec(
        fusion=contender.fusion,
        inputs=tuple(InputSpec(feature=s.feature, kind=s.kind, dim=s.dim) for s in contender.inputs),
        classes=_TWO,
        encoder=model.encoder,
        encoders={feature: encoder for feature, encoder in encoders.items() if encoder},
        options=options_of(model, contender),
    )


def _may_fetch(model: ModelConfig, contender: Contender) -> bool:
    """Say whether a backbone of a contender may ask the hub for its weights."""
    encoders = (model.encoders.get(schema.feature.partition("@")[0]) for schema in contender.inputs)
    return any(encoder.backbone and not encoder.backbone.offline for encoder in encoders if encoder)


def _offline(model: ModelConfig) -> ModelConfig:
    """Return the settings with backbones that never ask the hub."""
    found = {}
    for name, encoder in model.encoders.items():
        backbone = encoder.backbone and encoder.backbone.model_copy(update={"offline": True})
        found[name] = encoder.model_copy(update={"backbone": backbone})
    return model.model_copy(update={"encoders": found})


def _feature(schema: FeatureSchema) -> str:
    return schema.feature
