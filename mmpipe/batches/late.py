"""Batches whose names are looked up when somebody asks: to touch 50 000 small strings costs a tenth of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from mmpipe.types import Batch


class LateNames:
    """Fields of a slotted dataclass that stay empty until first read."""

    __slots__ = ()

    @classmethod
    def make(cls, rows_B: np.ndarray, names: Mapping[str, np.ndarray], **fields: Any) -> Self:
        """Return a value with these fields, and those in `names` to be taken from their columns at `rows_B`."""
        made = object.__new__(cls)
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        object.__setattr__(made, "_late", (rows_B, names))
        return made

    def __getattr__(self, name: str) -> Any:
        """Return an empty field, from now on filled."""
        if name == "_late" or name not in self._late[1]:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        rows_B, names = self._late
        found = tuple(names[name][rows_B].tolist())
        object.__setattr__(self, name, found)
        return found


class GatheredBatch(LateNames, Batch):
    """A batch with late keys and groups; in every other way a `Batch`."""

    __slots__ = ("_late",)
