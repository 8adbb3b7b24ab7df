"""Hold OpenLineage events, and each of their facets, against the published schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

SCHEMAS = [json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "openlineage").glob("*.json"))]
REGISTRY: Registry[Any] = Registry().with_resources(
    [(schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS]
)


def check(url: str, value: object) -> None:
    """Hold a value against what it says that its schema is."""
    Draft202012Validator({"$ref": url}, registry=REGISTRY, format_checker=FormatChecker()).validate(value)


def check_event(event: dict[str, Any]) -> None:
    """Hold an event and each of its facets against the published schemas."""
    check(event["schemaURL"], event)
    facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
    for dataset in (*event["inputs"], *event["outputs"]):
        facets += [
            facet for kind in ("facets", "inputFacets", "outputFacets") for facet in dataset.get(kind, {}).values()
        ]
    for facet in facets:
        check(facet["_schemaURL"], facet)
