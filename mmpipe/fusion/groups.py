"""The groups that a network's weights fall into: what a config freezes, or lets learn at a rate of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mmpipe.fusion.backbones.stages import stage_of
from mmpipe.fusion.encoders.registry import AfterBackbone
from mmpipe.fusion.model import FusionModel
from mmpipe.weights.tensors import RANDOM

HEADS = ("head", "unimodal_heads")


def parameter_groups(model: FusionModel) -> dict[str, tuple[str, ...]]:
    """Return the groups of every parameter by its name, from the widest to the narrowest."""
    return {name: _groups_of(model, name) for name, _ in model.named_parameters()}


def narrowest(groups: Collection[str], chosen: Collection[str] | Mapping[str, object]) -> str | None:
    """Return the narrowest of a parameter's groups that is among some; None where none is."""
    return next((group for group in reversed(tuple(groups)) if group in chosen), None)


def begins_with_weights(model: FusionModel, name: str) -> bool:
    """Say whether a parameter is of a backbone that begins with weights of its own, and so never with random ones."""
    top, _, rest = name.partition(".")
    feature, _, part = rest.partition(".")
    if top != "encoders" or not part.startswith("backbone."):
        return False
    backbone = model.spec.encoder_of(feature.replace(":", ".")).backbone
    return backbone is not None and backbone.weights != RANDOM


def _groups_of(model: FusionModel, name: str) -> tuple[str, ...]:
    top, _, rest = name.partition(".")
    if top not in ("encoders", "unimodal_heads"):
        return ("fusion",) if top == "fusion" else ("head",)
    held, _, rest = rest.partition(".")
    feature = held.replace(":", ".")
    group = f"{top}.{feature.partition('@')[0]}"
    found = (top, group)
    encoder = model.encoders[feature] if top == "encoders" else None
    if not isinstance(encoder, AfterBackbone) or not rest.startswith("backbone."):
        return found
    stage = stage_of(encoder.backbone, rest.removeprefix("backbone."))
    return (*found, f"{group}.backbone", *([f"{group}.backbone.{stage}"] if stage else ()))
