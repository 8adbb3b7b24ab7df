"""What `prefect.yaml` becomes for the corpora of a config: a night for each, at its own time."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmpipe.config import NightConfig

NIGHTLY = "nightly"
TAG = "mmpipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule that the server has, by its deployment."""

    deployment: str
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What the server has of us."""

    nightlies: Mapping[str, str]  # name -> id, of the deployments of the nightly flow
    switched_off: frozenset[Schedule]  # by a person: `up` must not switch them on again


def expand(
    document: Mapping[str, Any], nights: Mapping[str, NightConfig], switched_off: Collection[Schedule] = ()
) -> dict[str, Any]:
    """Return the document with a `nightly` for each corpus; a schedule that a person switched off stays off.

    One corpus keeps the name `nightly`; without a config the file stands as it is.
    """
    expanded = copy.deepcopy(dict(document))
    expanded["deployments"] = [
        _with_switches(made, switched_off)
        for entry in expanded["deployments"]
        for made in (_nightlies(entry, nights) if entry["name"] == NIGHTLY else (entry,))
    ]
    return expanded


def names_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a document's deployments."""
    return tuple(entry["name"] for entry in document["deployments"])


def nightly_name(corpus: str, nights: Mapping[str, NightConfig]) -> str:
    """Return the name of the deployment that takes in a corpus."""
    return f"{NIGHTLY}-{corpus}" if len(nights) > 1 else NIGHTLY


def read_deployed(rows: Collection[Mapping[str, Any]], flow_ids: Collection[str]) -> Deployed:
    """Return what of the server's deployments is ours; `flow_ids` are those of the nightly flow."""
    ours = [row for row in rows if TAG in row["tags"]]
    return Deployed(
        nightlies={row["name"]: row["id"] for row in ours if row["flow_id"] in flow_ids},
        switched_off=frozenset(
            Schedule(deployment=row["name"], slug=schedule["slug"])
            for row in ours
            for schedule in row["schedules"]
            if schedule["slug"] and not schedule["active"]
        ),
    )


def retired(deployed: Deployed, document: Mapping[str, Any]) -> dict[str, str]:
    """Return the nights, by name, whose corpus left the config."""
    kept = names_of(document)
    return {name: number for name, number in deployed.nightlies.items() if name not in kept}


def _nightlies(entry: Mapping[str, Any], nights: Mapping[str, NightConfig]) -> Iterator[dict[str, Any]]:
    if not nights:
        yield dict(entry)
    for corpus, night in sorted(nights.items()):
        made = copy.deepcopy(dict(entry)) | {"name": nightly_name(corpus, nights)}
        if len(nights) > 1:
            made["parameters"] = {"parameters": {"corpus": corpus}}
            made["description"] = f"{corpus}: {entry['description']}"
            made["tags"] = [*entry["tags"], corpus]
        made["schedules"] = [schedule | {"cron": night.cron} for schedule in made["schedules"] if night.cron]
        yield made


def _with_switches(entry: Mapping[str, Any], switched_off: Collection[Schedule]) -> dict[str, Any]:
    schedules = [
        schedule
        | ({"active": False} if Schedule(deployment=entry["name"], slug=schedule["slug"]) in switched_off else {})
        for schedule in entry.get("schedules", ())
    ]
    # An empty list takes away what the server has; no list would leave it.
    return {**entry, "schedules": schedules}
