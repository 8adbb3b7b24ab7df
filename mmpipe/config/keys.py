"""Every key that a config may have, with type, default, limits and meaning, as its models have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mmpipe.config.table import USUAL
from mmpipe.config.tree import Config

NAME = "NAME"  # stands in a key for a name that a person chooses
_TYPES: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true | false", Path: "path"}
_LIMITS = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}", "min_length": "at least {}", "pattern": "fits {}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigKey:
    """One key, by its place in the tree."""

    key: str
    type: str
    default: str  # as TOML and JSON write it; "" where there is none
    required: bool
    limits: str
    description: str


def list_keys(table: type[BaseModel] = Config, place: str = "") -> Iterator[ConfigKey]:
    """Yield the keys of a table and of those below it, in their order; a table comes before its keys."""
    for name, field in table.model_fields.items():
        key = f"{place}.{name}" if place else name
        below, by_name = _table_below(field.annotation)
        key += f".{NAME}" if by_name else ""
        yield ConfigKey(
            key=key,
            type="table" if below else _type_name(field.annotation),
            default="" if below else _default(field),
            required=field.is_required(),
            limits=", ".join(_limits(field)),
            description=field.description or (_first_line(below) if below else ""),
        )
        if below:
            yield from list_keys(below, key)


def _table_below(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the table that a field is or may be, and whether people name several of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    found = next((table for part in get_args(annotation) if (table := _table_below(part)[0])), None)
    return found, found is not None and get_origin(annotation) in (dict, Mapping)


def _type_name(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(parts[0])
    if origin in (Union, UnionType):
        return ", or ".join(_type_name(part) for part in parts if part is not NoneType)
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin is tuple:
        return f"list of {_type_name(parts[0])}s"
    if origin in (dict, Mapping):
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " | ".join(annotation)
    return _TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None and isinstance(field.json_schema_extra, dict):
        value = field.json_schema_extra.get(USUAL)
    return "" if value is None else json.dumps(value, default=str)


def _limits(field: FieldInfo) -> Iterator[str]:
    """Yield the limits in words; pydantic keeps each as a value with an attribute of its name."""
    for limit in field.metadata:
        for name, text in _LIMITS.items():
            if (bound := getattr(limit, name, None)) is not None:
                yield text.format(bound)


def _first_line(table: type[BaseModel]) -> str:
    return (table.__doc__ or "").partition("\n")[0].rstrip(".")
