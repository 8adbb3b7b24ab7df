"""A dataset's description for catalogues, in the Croissant vocabulary (mlcommons.org/croissant)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mmpipe.store.rights import Rights, RightsCount
from mmpipe.store.tarshard import INDEX_SCHEMA
from mmpipe.store.vectorshard import vector_schema
from mmpipe.types import FeatureKind, FeatureSchema

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "key": "cr:key",
    "recordSet": "cr:recordSet",
    "sc": "https://schema.org/",
    "source": "cr:source",
}

_MEANING = {
    "key": "the clip's name in every dataset of the corpus",
    "ordinal": "position in the spine's shard of the same number",
    "stream": "digest of the stream that the value was made from",
    "start_ns": "start of the clip on its asset's clock, nanoseconds",
    "end_ns": "end of the clip, nanoseconds, exclusive",
    "event_date": "the partition's date",
    "value": "the feature",
    "offset": "of the array's first number in the tar of the same partition and number",
    "nbytes": "of the array's numbers",
    "shape": "of the array, [T, D]",
    "dtype": "of the array",
    "sha256": "of the array's bytes",
    "times_ns": "of every time step on the asset's clock, nanoseconds",
}


def croissant(
    schema: FeatureSchema, corpus: str, published: str, rights: Rights, clips: RightsCount | None = None
) -> dict[str, Any]:
    """Return the description as plain JSON values; `published` is a date, because bytes must not depend on a clock."""
    sequence = schema.kind is FeatureKind.SEQUENCE
    table = INDEX_SCHEMA if sequence else vector_schema(schema.dim, schema.dtype)
    files = [_file_set("tars", "application/x-tar", "data/*/*.tar")] if sequence else []
    files.append(_file_set("rows", "application/x-parquet", f"{'index' if sequence else 'data'}/*/*.parquet"))
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "datePublished": published,
        "description": schema.description or f"{schema.modality.value} features {schema.feature} of {corpus}",
        "distribution": files,
        "name": f"{corpus}-{schema.feature}",
        "recordSet": [
            {
                "@id": "clips",
                "@type": "cr:RecordSet",
                "field": [_field(column) for column in table],
                "key": {"@id": "clips/key"},
                "name": "clips",
            }
        ],
        "version": f"{schema.feature.rpartition('@')[2]}.0.0",
        **_said(rights, clips),
    }


def column_meanings(schema: FeatureSchema) -> list[tuple[str, str, str]]:
    """Return (column, type, meaning) for the Parquet files of a feature."""
    table = INDEX_SCHEMA if schema.kind is FeatureKind.SEQUENCE else vector_schema(schema.dim, schema.dtype)
    return [(column.name, str(column.type), _MEANING[column.name]) for column in table]


def _said(rights: Rights, clips: RightsCount | None) -> dict[str, Any]:
    """Return what the owner said, with every licence of clips that differ; an empty key would be a fault."""
    creator = {"@type": "sc:Organization", "email": rights.contact, "name": rights.owner}
    found = sorted(name for name in clips.licence if name) if clips else []
    licence = found if len(found) > 1 else rights.licence or "".join(found)
    said: dict[str, Any] = {"license": licence} if licence else {}
    return {**said, "creator": {key: value for key, value in creator.items() if value}} if rights.owner else said


def _file_set(name: str, encoding: str, includes: str) -> dict[str, Any]:
    return {"@id": name, "@type": "cr:FileSet", "encodingFormat": encoding, "includes": includes, "name": name}


def _field(column: pa.Field) -> dict[str, Any]:
    field = {
        "@id": f"clips/{column.name}",
        "@type": "cr:Field",
        "dataType": _data_type(column.type),
        "description": _MEANING[column.name],
        "name": column.name,
        "source": {"extract": {"column": column.name}, "fileSet": {"@id": "rows"}},
    }
    if pa.types.is_fixed_size_list(column.type):
        return {**field, "arrayShape": str(column.type.list_size), "isArray": True}
    if pa.types.is_list(column.type):
        return {**field, "arrayShape": "-1", "isArray": True}
    return field


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_nested(kind):
        return _data_type(kind.value_type)
    if pa.types.is_date(kind):
        return "sc:Date"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:Integer" if pa.types.is_integer(kind) else "sc:Text"
