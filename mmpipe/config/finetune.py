"""How a training goes on from weights that are there: what they are, what of them learns, and how fast."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Self

from pydantic import Field, field_validator, model_validator

from mmpipe.config.encoding import BackboneConfig, BackboneKind, EncoderConfig
from mmpipe.config.table import Table

_RELEASE = re.compile(r"release:[a-z0-9][a-z0-9_-]{0,62}@[1-9]\d*(-[0-9a-f]{8})?")
_BERT_LAYERS = 12  # of a BERT whose architecture does not say
# The stages of a backbone, from what it sees first; `fusion/backbones/stages.py` says which weights are theirs.
STAGES: Mapping[BackboneKind, tuple[str, ...]] = {
    BackboneKind.VGG16: ("stage1", "stage2", "stage3", "stage4", "stage5"),
    BackboneKind.RESNET50: ("stem", "layer1", "layer2", "layer3", "layer4"),
    BackboneKind.SMALL_CNN: ("stage1", "stage2", "stage3"),
}


class Preprocessing(StrEnum):
    """What becomes of the preprocessing that a release was fitted with."""

    KEPT = "kept"  # as its weights expect it
    ANEW = "anew"


class Singles(StrEnum):
    """Where the networks of single inputs begin, against which a fused one is judged."""

    BEGUN = "begun"  # from the release too, frozen and fast as it says
    ANEW = "anew"  # as without this table


class Focus(StrEnum):
    """What a training is to better."""

    WEAK = "weak"


class LoraConfig(Table):
    """Low-rank adapters, which alone learn of the weights of some groups, and are merged into them in the end.

    W x becomes W x + (alpha / rank) B A x, with A [rank, in] and B [out, rank], B = 0 at first (Hu et al. 2021).
    """

    rank: int = Field(8, ge=1, le=1024, description="of the product that is added to each matrix")
    alpha: float = Field(16.0, gt=0, description="over the rank, it is what the product is multiplied by")
    dropout: float = Field(0.0, ge=0, lt=1, description="chance to hide a value that an adapter reads")
    groups: tuple[str, ...] = Field(min_length=1, description='whose linear layers: ["encoders.text-tokens.backbone"]')


class FinetuneConfig(Table):
    """Where training begins, and what of it learns; groups are `encoders.FEATURE`, `fusion`, `head` and the like."""

    begin_from: str = Field("", description='weights to begin with: "release:NAME@VERSION"; empty: random ones')
    preprocessing: Preprocessing = Field(
        Preprocessing.KEPT, description="kept: as the release was fitted; anew: on the training clips of now"
    )
    singles: Singles = Field(Singles.BEGUN, description="where the networks of single inputs begin")
    freeze: tuple[str, ...] = Field((), description="groups that stay as they begin; what begin_from has not learns")
    unfreeze: Mapping[str, int] = Field({}, description="group -> epoch from which it learns, counted from 1")
    rates: Mapping[str, float] = Field({}, description="group -> what its learning rate is multiplied by")
    lora: LoraConfig | None = Field(None, description="low-rank adapters; needs mmpipe[lora]")
    focus: Focus | None = Field(
        None, description="weak: only what encodes the modality that the release's verdict calls weak learns"
    )

    @property
    def is_used(self) -> bool:
        """Say whether anything differs from a training from the start."""
        return self != FinetuneConfig()

    @field_validator("begin_from")
    @classmethod
    def _names_a_version(cls, begin_from: str) -> str:
        if begin_from and not _RELEASE.fullmatch(begin_from):
            raise ValueError(
                "write release:NAME@3 or release:NAME@3-0a1b2c3d. An alias such as @production moves, and with it "
                "what would be trained"
            )
        return begin_from

    @model_validator(mode="after")
    def _numbers_are_possible(self) -> Self:
        if early := sorted(group for group, epoch in self.unfreeze.items() if epoch < 1):
            raise ValueError(f"unfreeze of {early}: epochs are counted from 1")
        if still := sorted(group for group, rate in self.rates.items() if not 0 < rate < float("inf")):
            raise ValueError(f"rates of {still} must be above 0; to leave a group as it begins, name it in `freeze`")
        if self.focus and not self.begin_from:
            raise ValueError("focus needs begin_from: the release whose verdict it goes by")
        if self.focus and (self.freeze or self.lora):
            raise ValueError("focus freezes by itself: leave freeze and lora out")
        return self

    def named_groups(self) -> dict[str, tuple[str, ...]]:
        """Return the groups that each key names."""
        lora = {"lora.groups": self.lora.groups} if self.lora else {}
        return {"freeze": self.freeze, "unfreeze": tuple(self.unfreeze), "rates": tuple(self.rates)} | lora

    def require_epochs(self, epochs: int) -> None:
        """Raise ValueError where a group would learn from an epoch that never comes."""
        if late := {group: epoch for group, epoch in self.unfreeze.items() if epoch > epochs}:
            raise ValueError(f"unfreeze of {late}: train.epochs is {epochs}, so they would never learn")

    def require_groups(self, inputs: Iterable[str], encoders: Mapping[str, EncoderConfig]) -> None:
        """Raise ValueError that lists the groups where a key names one that a model of these inputs has not."""
        inputs = tuple(inputs)
        known = group_names(inputs, encoders)
        layers = [f"{backbone_group(name)}.layer" for name in inputs if _has_unknown_layers(encoders.get(name))]
        for key, groups in self.named_groups().items():
            for group in groups:
                is_layer = any(re.fullmatch(re.escape(layer) + r"\d+", group) for layer in layers)
                if group not in known and not is_layer:
                    raise ValueError(f"{key} names the group {group!r}; the groups are: {', '.join(known)}")
        frozen = [name for name in inputs if (found := encoders.get(name)) and found.backbone and found.backbone.frozen]
        lora = self.lora.groups if self.lora else ()
        for name in frozen:
            if any((group + ".").startswith(f"{backbone_group(name)}.") for group in (*self.unfreeze, *lora)):
                raise ValueError(
                    f"encoders.{name}.backbone.frozen = true keeps its weights, and this lets them learn: leave it out"
                )


def group_names(inputs: Iterable[str], encoders: Mapping[str, EncoderConfig]) -> tuple[str, ...]:
    """Return the groups of parameters that a model of these inputs has; what is not named is part of `head`."""
    inputs = tuple(inputs)
    found = ["encoders"]
    for name in inputs:
        found.append(f"encoders.{name}")
        if (config := encoders.get(name)) and config.backbone:
            found += [backbone_group(name), *(f"{backbone_group(name)}.{stage}" for stage in _stages(config.backbone))]
    if len(inputs) > 1:
        found += ["unimodal_heads", *(f"unimodal_heads.{name}" for name in inputs), "fusion"]
    return (*found, "head")


def backbone_group(feature: str) -> str:
    """Return the group of an input's backbone."""
    return f"encoders.{feature}.backbone"


def _stages(config: BackboneConfig) -> tuple[str, ...]:
    if config.kind is not BackboneKind.BERT:
        return STAGES[config.kind]
    layers = int(config.architecture.get("num_hidden_layers", _BERT_LAYERS))
    return ("embeddings", *(f"layer{number}" for number in range(layers)))


def _has_unknown_layers(config: EncoderConfig | None) -> bool:
    """Say whether only its weights tell how many layers a backbone has."""
    return bool(config and config.backbone and config.backbone.kind is BackboneKind.BERT)
