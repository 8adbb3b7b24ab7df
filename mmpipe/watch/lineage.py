"""OpenLineage run events of stages: START when one begins, then one of COMPLETE, FAIL and ABORT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from mmpipe.watch.stage import Ending, OuterRun, StageEnd, StageRun, Table

SPEC = "https://openlineage.io/spec"
SCHEMA_URL = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
# The versions of the facets that we write.
FACETS = {
    "ParentRunFacet": "1-2-0",
    "NominalTimeRunFacet": "1-0-1",
    "ErrorMessageRunFacet": "1-0-1",
    "JobTypeJobFacet": "2-0-4",
    "SchemaDatasetFacet": "1-2-0",
    "DatasetVersionDatasetFacet": "1-0-1",
    "DataQualityMetricsDatasetFacet": "1-0-0",
    "InputStatisticsInputDatasetFacet": "1-0-0",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
}
_TYPES = {Ending.COMPLETED: "COMPLETE", Ending.FAILED: "FAIL", Ending.ABORTED: "ABORT"}


class Outlet(Protocol):
    """Where events go."""

    def send(self, event: bytes) -> None:
        """Take one event, a JSON object without line breaks."""

    def flush(self) -> None:
        """See to it that what was sent has left, as far as that takes no longer than the outlet may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """What all events of a process have in common."""

    namespace: str  # of jobs
    timezone: str
    producer: str


class LineageListener:
    """Makes an event of all that it hears."""

    wants_tables = True

    def __init__(self, outlet: Outlet, namespace: str, timezone: str = "UTC") -> None:
        """Send to `outlet`; `timezone` is the schedule's, in which a date begins at midnight."""
        self._outlet = outlet
        self._settings = EventSettings(namespace=namespace, timezone=timezone, producer=producer())

    def begin(self, run: StageRun) -> None:
        """Send START."""
        self._outlet.send(_line(run_event(run, None, self._settings)))

    def end(self, run: StageRun, end: StageEnd) -> None:
        """Send how it ended; the outermost stage waits for what is on its way."""
        self._outlet.send(_line(run_event(run, end, self._settings)))
        if run.parent is None:
            self._outlet.flush()


def producer() -> str:
    """Return the URI that says who made an event."""
    try:
        return f"urn:mmpipe:{version('mmpipe')}"
    except PackageNotFoundError:  # it runs from a folder that was never installed
        return "urn:mmpipe:unknown"


def run_event(run: StageRun, end: StageEnd | None, settings: EventSettings) -> dict[str, Any]:
    """Return the event of a stage that starts, or that ended."""
    namespace, producer = settings.namespace, settings.producer

    def facet(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        url = f"{SPEC}/facets/{FACETS[kind]}/{kind}.json#/$defs/{kind}"
        return {"_producer": producer, "_schemaURL": url, **values}

    facets: dict[str, Any] = {}
    if run.dates:
        begin = datetime.combine(date.fromisoformat(min(run.dates)), time(), ZoneInfo(settings.timezone))
        facets["nominalTime"] = facet("NominalTimeRunFacet", {"nominalStartTime": begin.isoformat()})
    if above := run.parent or run.outer:
        root = run.outer.top if run.outer else run.root
        facets["parent"] = facet("ParentRunFacet", {**_place(above, namespace), "root": _place(root, namespace)})
    if end and end.ending is not Ending.COMPLETED:
        said = {"message": f"{end.error}: {end.message}", "programmingLanguage": "python"}
        facets["errorMessage"] = facet("ErrorMessageRunFacet", said)
    kind = facet("JobTypeJobFacet", {"processingType": "BATCH", "integration": "MMPIPE", "jobType": "STAGE"})
    return {
        "eventType": _TYPES[end.ending] if end else "START",
        "eventTime": _stamp(end.ended if end else run.started),
        "producer": producer,
        "schemaURL": SCHEMA_URL,
        "run": {"runId": run.run_id, "facets": facets},
        "job": {**_job(run, namespace), "facets": {"jobType": kind}},
        "inputs": [
            _dataset(table, facet, "inputFacets", "inputStatistics", "InputStatisticsInputDatasetFacet")
            for table in (end.read if end else ())
        ],
        "outputs": [
            _dataset(table, facet, "outputFacets", "outputStatistics", "OutputStatisticsOutputDatasetFacet")
            for table in (end.made if end else ())
        ],
    }


def _dataset(table: Table, facet: Any, place: str, name: str, kind: str) -> dict[str, Any]:
    """Return a dataset with what is known of it; a partition is a dataset below its own."""
    facets: dict[str, Any] = {}
    if table.columns:
        fields = [{"name": column, "type": of} for column, of in table.columns.items()]
        facets["schema"] = facet("SchemaDatasetFacet", {"fields": fields})
    if table.version:
        facets["version"] = facet("DatasetVersionDatasetFacet", {"datasetVersion": table.version})
    if table.rows is not None:
        rows = {"rowCount": table.rows, **({} if table.nbytes is None else {"bytes": table.nbytes})}
        # A value that is not there is a null of its column, and the clips in quarantine are why.
        nulls = {column: {"nullCount": sum(table.counts.values())} for column in table.columns if table.counts}
        facets["dataQualityMetrics"] = facet(
            "DataQualityMetricsDatasetFacet", {**rows, "columnMetrics": nulls, "mmpipe_counts": dict(table.counts)}
        )
    found = {"namespace": table.namespace, "name": _name(table), "facets": facets}
    if table.rows is not None:
        size = {} if table.nbytes is None else {"size": table.nbytes}
        found[place] = {name: facet(kind, {"rowCount": table.rows, **size})}
    return found


def _name(table: Table) -> str:
    return f"{table.name}/dt={table.partition}" if table.partition else table.name


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=True).encode()


def _place(run: StageRun | OuterRun, namespace: str) -> dict[str, Any]:
    return {"run": {"runId": run.run_id}, "job": _job(run, namespace)}


def _job(run: StageRun | OuterRun, namespace: str) -> dict[str, str]:
    name = run.job if isinstance(run, OuterRun) else f"{run.stage}.{run.subject}"
    return {"namespace": namespace, "name": name}


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
