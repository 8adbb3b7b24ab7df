"""The parameters that every encoder has, and what is decided of them before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from mmpipe.config import Flag, Table
from mmpipe.features.encoders.dtype import DtypeWish, resolve_dtype
from mmpipe.weights.folder import ModelFolder, find_model

_MOST_ITEMS = 65_536


def _batch_size(value: object) -> object:
    if isinstance(value, str) and value.isdecimal():  # the environment has no numbers
        value = int(value)
    if value != "auto" and (type(value) is not int or not 1 <= value <= _MOST_ITEMS):
        raise ValueError(f'must be "auto" or a whole number from 1 to {_MOST_ITEMS}')
    return value


BatchSize = Annotated[Literal["auto"] | int, BeforeValidator(_batch_size)]
_Params = TypeVar("_Params", bound="ComputeParams")


class ComputeParams(Table):
    """How a network is run. What changes no value is left out of the fingerprint: `values` counts by the schema."""

    dtype: DtypeWish = Field("auto", description="numbers that it computes in; auto: bf16 where that is faster")
    values: Literal["float32", "float16"] = Field("float32", exclude=True, description="numbers that are stored")
    batch: BatchSize = Field("auto", exclude=True, description="items at once; less where memory is short")
    compile: Flag = Field(False, exclude=True, description="torch.compile on a GPU: slow to start, then faster")

    def batch_or(self, auto: int) -> int:
        """Return how many items run at once, with what "auto" means here."""
        return auto if self.batch == "auto" else self.batch


class WeightsParams(ComputeParams):
    """Which model it is. Its digest is in the fingerprint, so where it lies and what it is called are not."""

    model: str = Field(exclude=True, description="hub id, or a folder: ./NAME beside the config, or an absolute path")
    revision: str | None = Field(None, exclude=True, description="40 hex digits; required for a hub id")
    offline: Flag = Field(True, exclude=True, description="never ask the hub; false: download what is missing")

    def find(self, extractor: str, *, with_weights: bool = True) -> ModelFolder:
        """Return the model's folder; `extractor` is named in errors."""
        return find_model(
            self.model, self.revision, offline=self.offline, table=f"features.{extractor}", with_weights=with_weights
        )


def resolved(params: _Params, device: str = "cpu") -> _Params:
    """Return the parameters with the dtype decided: they are what the fingerprint is over."""
    return params.model_copy(update={"dtype": resolve_dtype(params.dtype, device)})


def resolved_table(params: type[Table], table: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return a feature's table of the config with the dtype decided for a device, for those who make it elsewhere.

    A plan decides once for all workers: another machine must not decide otherwise for a part of the shards.
    """
    if not issubclass(params, ComputeParams):
        return dict(table)
    wish = table.get("dtype", "auto")
    return {**table, "dtype": resolve_dtype(wish, device) if wish == "auto" else wish}
