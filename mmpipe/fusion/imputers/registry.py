"""The imputers by the method that a config names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmpipe.config import Imputation
from mmpipe.errors import ConfigError
from mmpipe.fusion.imputers.base import Imputer
from mmpipe.fusion.imputers.generator import GeneratorImputer
from mmpipe.fusion.imputers.mean import MeanImputer
from mmpipe.fusion.imputers.nearest import NearestImputer
from mmpipe.fusion.imputers.ridge import RidgeImputer
from mmpipe.fusion.imputers.spec import ImputerSpec

IMPUTERS: Mapping[Imputation, type[Imputer]] = {
    Imputation.MEAN: MeanImputer,
    Imputation.RIDGE: RidgeImputer,
    Imputation.KNN: NearestImputer,
    Imputation.GAN: GeneratorImputer,
}


def make_imputer(spec: ImputerSpec, widths: Sequence[int]) -> Imputer:
    """Return an imputer of these modalities without its numbers; raise ConfigError."""
    if spec.method not in IMPUTERS:
        raise ConfigError(f"no imputer is called {spec.method.value!r}; there are {sorted(IMPUTERS)}")
    try:
        return IMPUTERS[spec.method](widths, **spec.sizes)
    except TypeError as error:
        raise ConfigError(f"the imputer {spec.method.value!r} does not take {dict(spec.sizes)}: {error}") from error
