"""What a search may try of a model: one axis per key of its table, and the model that a point on them stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mmpipe.config import ModelConfig, explain_validation
from mmpipe.config.tune import CHOICES, LOGARITHMIC, RANGES
from mmpipe.errors import ConfigError

FUSION = "fusion"
_OF_SEVERAL = ("modality_dropout", "unimodal_weight", "balance_alpha")  # say nothing where one input stands alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A key of the model's table and what is tried for it: choices, or the range from `ends[0]` to `ends[1]`."""

    key: str  # `train.dropout`, `encoder.width`, `fusion_options.lmf.rank`, or `fusion`
    choices: tuple[Any, ...] = ()
    ends: tuple[float, ...] = ()
    fusion: str = ""  # only where this one is tried

    @property
    def is_logarithmic(self) -> bool:
        """Say whether values are drawn by their logarithm."""
        return bool(self.ends) and self.ends[0] > 0 and self.key.rpartition(".")[2] in LOGARITHMIC

    def suggest(self, trial: Any) -> Any:
        """Return the value that a trial of Optuna has on this axis."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        return trial.suggest_float(self.key, *self.ends, log=self.is_logarithmic)

    def row(self) -> dict[str, Any]:
        """Return the axis for a table."""
        low_high = " to ".join(f"{end:g}" for end in self.ends) + (", by logarithm" if self.is_logarithmic else "")
        return {"key": self.key, "tried": ", ".join(map(str, self.choices)) if self.choices else low_high}


def list_axes(model: ModelConfig, *, fused: bool) -> tuple[Axis, ...]:
    """Return the axes of a model's search; with one input there is no fusion to choose, and nothing to weigh."""
    tried = model.tune.model_dump(mode="json")
    left_out = () if fused else _OF_SEVERAL
    fusions = tried_fusions(model) if fused else ()
    axes = (
        Axis(key=FUSION, choices=fusions if len(fusions) > 1 else ()),
        *(Axis(key=f"train.{name}", ends=tuple(tried[name])) for name in RANGES if name not in left_out),
        *(Axis(key=f"train.{name}", choices=tuple(tried[name])) for name in CHOICES),
        *(Axis(key=f"encoder.{name}", choices=tuple(choices)) for name, choices in tried["encoder"].items()),
        *(
            Axis(key=f"fusion_options.{fusion}.{option}", choices=tuple(choices), fusion=fusion)
            for fusion in fusions
            for option, choices in sorted(tried["fusion_options"].get(fusion, {}).items())
        ),
    )
    return tuple(axis for axis in axes if axis.choices or axis.ends)


def tried_fusions(model: ModelConfig) -> tuple[str, ...]:
    """Return the fusions that are tried."""
    return model.tune.fusions or model.fusions


def check_axes(model: ModelConfig) -> None:
    """Refuse names that every trial would stumble over: of a fusion, or of an option that it does not have."""
    from mmpipe.fusion.registry import fusion_class

    fusions = tried_fusions(model)
    known = {name: sorted(fusion_class(name).Options.model_fields) for name in fusions}
    for fusion, options in model.tune.fusion_options.items():
        if fusion not in known:
            raise ConfigError(f"tune.fusion_options has {fusion!r}, which is not tried; those are: {list(fusions)}")
        if strangers := sorted(set(options) - set(known[fusion])):
            raise ConfigError(f"tune.fusion_options.{fusion} has {strangers}; the fusion takes: {known[fusion]}")


def draw(trial: Any, axes: Sequence[Axis]) -> dict[str, Any]:
    """Return the point that a trial of Optuna stands for; options only of the fusion that it tries."""
    point: dict[str, Any] = {}
    for axis in axes:
        if not axis.fusion or axis.fusion == point.get(FUSION, axis.fusion):
            point[axis.key] = axis.suggest(trial)
    return point


def model_at(model: ModelConfig, point: Mapping[str, Any]) -> ModelConfig:
    """Return the model at a point; raise ConfigError where its values do not go together."""
    table = model.model_dump(exclude={"tune"})
    fusion = point.get(FUSION) or tried_fusions(model)[0]
    options = {**table["fusion_options"].get(fusion, {})}
    for key, value in point.items():
        room, _, name = key.rpartition(".")
        if room == f"fusion_options.{fusion}":
            options[name] = value
        elif room:
            table[room][name] = value
    for own in table["encoders"].values():
        own["width"] = table["encoder"]["width"]  # all have one
    if len(model.inputs) > 1:
        table |= {"fusions": (fusion,), "fusion_options": {fusion: options} if options else {}}
    try:
        return ModelConfig(**table)
    except ValidationError as error:
        raise ConfigError(explain_validation(error, "the trial", ModelConfig)) from error
