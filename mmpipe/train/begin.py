"""Where a network begins that goes on from another's weights: what is taken over, what is new, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmpipe.config import FinetuneConfig, Preprocessing
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec
from mmpipe.types import digest_of

PREPROCESS, ENCODERS, ALONE = "preprocess", "encoders", "unimodal_heads"
HEAD, FUSION, GOAL, JOINT = "head", "fusion", "goal", "joint"
ANEW = "its preprocessing is fitted anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A network that another begins from."""

    spec: ModelSpec
    tensors: Mapping[str, Tensor]
    sha256: str  # of the file of its weights
    features: frozenset[str]  # whose values are made as they were then


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetuning:
    """How a network goes on: from which weights, and what of them learns."""

    config: FinetuneConfig
    start: Start | None = None
    counts_start: bool = False  # the network as it begins is kept where no epoch betters it on the validation clips

    @property
    def digest(self) -> str:
        """Return the digest of all of it that decides what is trained."""
        start = (self.start.sha256, *sorted(self.start.features)) if self.start else ()
        return digest_of("finetuning", self.config.model_dump_json(), self.counts_start, *start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What became of every tensor of a network."""

    taken: Mapping[str, str] = field(default_factory=dict)  # name -> its name in the start
    new: Mapping[str, str] = field(default_factory=dict)  # name -> why it is not taken over
    kept: frozenset[str] = frozenset()  # features whose fitted preprocessing is the start's

    @property
    def keeps_goal(self) -> bool:
        """Say whether what is fitted to the targets is the start's: its heads speak in those numbers."""
        return any(name.startswith(f"{GOAL}.") for name in self.taken)

    @property
    def anew(self) -> frozenset[str]:
        """Return the names of fitted numbers that were left behind on purpose."""
        return frozenset(name for name, why in self.new.items() if why == ANEW)


def begin_network(model: FusionModel, finetuning: Finetuning) -> Begun:
    """Give a new network the tensors of its start that have a place in it."""
    if finetuning.start is None:
        return Begun()
    begun = plan_begin(model, finetuning.start, finetuning.config.preprocessing)
    state = model.state_dict()
    with torch.no_grad():
        for name, source in begun.taken.items():
            state[name].copy_(finetuning.start.tensors[source])
    return begun


def plan_begin(model: FusionModel, start: Start, preprocessing: Preprocessing) -> Begun:
    """Say what a network would take over, by names and shapes alone: it may be on the meta device.

    A tensor is taken over where the start has one of its name and shape that means the same: answers of the same
    classes, a fusion of the same kind, values that are made as they were then and preprocessed alike.
    """
    kept = _kept_features(model, start) if preprocessing is Preprocessing.KEPT else frozenset()
    taken, new = {}, {}
    for name, tensor in model.state_dict().items():
        source = _source_name(name, model.spec, start.spec)
        why = _why_new(name, source, tensor, model.spec, start, kept, preprocessing)
        if why:
            new[name] = why
        else:
            taken[name] = source
    return Begun(taken=taken, new=new, kept=kept)


def feature_of(name: str) -> str:
    """Return the feature that a part of a network is of, by the part's name; "" where it is of none."""
    top, _, rest = name.partition(".")
    return rest.partition(".")[0].replace(":", ".") if top in (PREPROCESS, ENCODERS, ALONE) else ""


def _source_name(name: str, spec: ModelSpec, begun: ModelSpec) -> str:
    """Return the name of a tensor in the start: the head of a single input is the one that it has beside a fusion."""
    single, was_single = len(spec.inputs) == 1, len(begun.inputs) == 1
    top, _, rest = name.partition(".")
    if single and not was_single and top == HEAD:
        return f"{ALONE}.{spec.features[0].replace('.', ':')}.{rest}"
    if was_single and not single and top == ALONE and feature_of(name) == begun.features[0]:
        return f"{HEAD}.{rest.partition('.')[2]}"
    return name


def _kept_features(model: FusionModel, start: Start) -> frozenset[str]:
    """Return the features whose preprocessing has the same numbers to fit as in the start."""
    shapes: dict[str, list[bool]] = {feature: [] for feature in model.spec.features}
    for name, tensor in model.state_dict().items():
        if name.startswith(f"{PREPROCESS}."):
            shapes[feature_of(name)].append(_has_shape(start, name, tensor))
    return frozenset(feature for feature, alike in shapes.items() if feature in start.features and all(alike))


def _why_new(
    name: str,
    source: str,
    tensor: Tensor,
    spec: ModelSpec,
    start: Start,
    kept: frozenset[str],
    preprocessing: Preprocessing,
) -> str:
    """Return why a tensor is not taken over, "" where it is."""
    feature, top = feature_of(name), name.partition(".")[0]
    if feature and feature not in start.spec.features:
        return "a new input"
    if feature and feature not in start.features:
        return "its input's values are made otherwise now"
    if top == PREPROCESS and preprocessing is Preprocessing.ANEW:
        return ANEW
    if feature and preprocessing is Preprocessing.KEPT and feature not in kept:
        return "its input is preprocessed otherwise"
    if top not in (PREPROCESS, ENCODERS, FUSION) and spec.goal is not start.spec.goal:
        return f"the goal there is {start.spec.goal.value}"
    if top == JOINT and spec.also != start.spec.also:
        return "other answers beside it"
    if top not in (PREPROCESS, ENCODERS, FUSION) and spec.classes != start.spec.classes:
        return "other classes"
    if top not in (PREPROCESS, ENCODERS, ALONE) and source == name and spec.fusion != start.spec.fusion:
        return f"the fusion there is {start.spec.fusion}"
    if source not in start.tensors:
        return "not there"
    return "" if _has_shape(start, source, tensor) else f"{list(start.tensors[source].shape)} there"


def _has_shape(start: Start, name: str, tensor: Tensor) -> bool:
    return name in start.tensors and start.tensors[name].shape == tensor.shape
