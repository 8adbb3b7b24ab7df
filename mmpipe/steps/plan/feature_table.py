"""A feature's table of the config as workers get it: with the dtype that the plan decided, and the release found."""

from __future__ import annotations

from typing import Any

from mmpipe.config import Config
from mmpipe.features.encoders.params import ComputeParams, resolved_table
from mmpipe.features.extractor import Extractor, extractor_behind
from mmpipe.features.naming import make_feature
from mmpipe.features.prepared import Rendition
from mmpipe.steps.plan.release_feature import found_table
from mmpipe.steps.workers.compute import CPU, resolve_device


def make_decided(config: Config, name: str, rendition: Rendition | None) -> Extractor:
    """Return what makes a feature, its dtype decided for the device of the run; raise ConfigError naming the fault."""
    table = found_table(config, name)
    made = make_feature(name, table, rendition)
    if table.get("dtype", "auto") != "auto":
        return made
    device = resolve_device(config.engine, (made,))
    if device == CPU:
        return made  # that is what "auto" was decided for already
    return make_feature(name, resolved_table(type(extractor_behind(made).params), table, device), rendition)


def decided_table(config: Config, extractor: Extractor) -> dict[str, Any]:
    """Return the config's table of a feature with its dtype decided, for those who make the extractor elsewhere.

    A machine with other instructions must not decide otherwise for a part of the shards.
    """
    table = found_table(config, extractor.name)
    params = extractor_behind(extractor).params
    return {**table, "dtype": params.dtype} if isinstance(params, ComputeParams) else table
