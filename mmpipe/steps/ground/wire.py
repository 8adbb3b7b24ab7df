"""Turn frozen values into JSON bytes and back: what comes out of a worker is parsed, never unpickled."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

_Value = TypeVar("_Value")


def encode(kind: type[_Value], value: _Value) -> bytes:
    """Return a value as JSON bytes."""
    return _adapter(cast(Hashable, kind)).dump_json(value)


def decode(kind: type[_Value], data: bytes) -> _Value:
    """Return the value that the JSON bytes hold; raise ValueError where they hold another kind."""
    value: _Value = _adapter(cast(Hashable, kind)).validate_json(data)
    return value


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))
