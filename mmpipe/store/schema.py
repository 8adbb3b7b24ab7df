"""A feature's schema: frozen for the life of its version, and the one definition behind card, files and checks."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict
from typing import Any

from mmpipe.errors import ConfigError, StoreError
from mmpipe.io import canonical_json, make_directory, put_if_absent, write_durable
from mmpipe.store.layout import DatasetLayout
from mmpipe.types import FeatureKind, FeatureSchema, Modality

SCHEMA_NAME = "schema.json"
DTYPES = {
    FeatureKind.SEQUENCE: ("float32", "float16", "uint8", "int32"),
    FeatureKind.VECTOR: ("float32", "float16", "uint8"),  # what a Parquet list holds and every table engine knows
}


def schema_digest(schema: FeatureSchema) -> str:
    """Return the digest that manifests carry; the description may be reworded without a new version."""
    table = schema_to_json(schema)
    del table["description"]
    return hashlib.sha256(canonical_json(table)).hexdigest()


def freeze_schema(dataset: DatasetLayout, schema: FeatureSchema) -> FeatureSchema:
    """Write a dataset's schema once and return what is frozen; refuse a different one under the same version."""
    check_schema(schema)
    path = dataset.root / SCHEMA_NAME
    if not path.exists():
        make_directory(dataset.root)
        temporary = make_directory(dataset.staging) / f"{uuid.uuid4().hex}.{SCHEMA_NAME}"
        try:
            write_durable(temporary, canonical_json(schema_to_json(schema)))
            put_if_absent(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    frozen = read_schema(dataset)
    if schema_digest(frozen) != schema_digest(schema):
        raise ConfigError(
            f"{schema.feature} gives {shape_of(schema)}, but {path} is frozen at {shape_of(frozen)}. "
            "The shape of a feature is fixed for its version: put the parameter back that changed it, configure it "
            "under a name of its own ([features.NAME] extractor = ...), or, where the code is yours, bump the "
            "extractor's version (a new name or version is a new dataset, and the old one stays readable)."
        )
    return frozen


def read_schema(dataset: DatasetLayout) -> FeatureSchema:
    """Read a dataset's frozen schema."""
    path = dataset.root / SCHEMA_NAME
    try:
        return schema_from_json(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing. Run `mmpipe verify`.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Run `mmpipe verify`.") from error


def find_schema(dataset: DatasetLayout) -> FeatureSchema | None:
    """Read a dataset's frozen schema; None where the dataset is not there yet."""
    path = dataset.root / SCHEMA_NAME
    return read_schema(dataset) if path.exists() else None


def check_schema(schema: FeatureSchema) -> None:
    """Refuse a schema that no shard can hold."""
    allowed = DTYPES[schema.kind]
    if schema.dtype not in allowed:
        raise ConfigError(f"{schema.feature}: a {schema.kind} is one of {list(allowed)}, not {schema.dtype!r}")
    if schema.dim < 1:
        raise ConfigError(f"{schema.feature}: dim must be >= 1, got {schema.dim}")


def schema_to_json(schema: FeatureSchema) -> dict[str, Any]:
    """Return a schema as plain JSON values."""
    return {**asdict(schema), "modality": schema.modality.value, "kind": schema.kind.value}


def schema_from_json(table: dict[str, Any]) -> FeatureSchema:
    """Read a schema; raise TypeError, KeyError or ValueError on unknown, missing or wrong keys."""
    schema = FeatureSchema(**{**table, "modality": Modality(table["modality"]), "kind": FeatureKind(table["kind"])})
    if not isinstance(schema.dim, int) or not isinstance(schema.feature, str):
        raise TypeError("dim must be a whole number and feature a text")
    return schema


def shape_of(schema: FeatureSchema) -> str:
    """Say what the values of a feature look like, e.g. `video float32 [T, 848]`."""
    axes = f"[T, {schema.dim}]" if schema.kind is FeatureKind.SEQUENCE else f"[{schema.dim}]"
    return f"{schema.modality.value} {schema.dtype} {axes}"
