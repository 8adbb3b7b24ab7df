from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openlineage_schemas import check, check_event

from mmpipe.errors import StoreError
from mmpipe.watch.lineage import LineageListener
from mmpipe.watch.outlets import FileOutlet, MemoryOutlet
from mmpipe.watch.stage import OuterRun, Stage, Table
from mmpipe.watch.watcher import Watcher, inside_run

VALUES = Table(
    namespace="file",
    name="/store/tones/audio-logmel@1",
    partition="2026-11-20",
    version="abc",
    rows=3,
    nbytes=99,
    columns={"key": "string", "value": "sequence<float32, 64>"},
    counts={"quarantined": 1, "absent": 2},
)
PLACE = Table(namespace="s3://bucket", name="models/m", version="2-0a1b2c3d")


@pytest.fixture
def events() -> list[dict[str, Any]]:
    """What a night says in which one stage works and one fails."""
    outlet = MemoryOutlet()
    watcher = Watcher([LineageListener(outlet, "nights", "Europe/Berlin")])
    with watcher.stage(Stage.NIGHT, corpus="tones", dates=["2026-11-20"]):
        with watcher.stage(Stage.EXTRACT, corpus="tones", dates=["2026-11-20", "2026-11-19"]) as stage:
            stage.read(lambda: [VALUES])
            stage.made(lambda: [VALUES, PLACE])
        with pytest.raises(StoreError), watcher.stage(Stage.TRAIN, corpus="tones", model="m"):
            raise StoreError("bytes are gone\nline two")
    assert outlet.num_flushes == 1, "only the outermost stage waits"
    assert all(b"\n" not in line for line in outlet.events)
    return [json.loads(line) for line in outlet.events]


def test_every_event_is_as_the_published_schemas_say(events: list[dict[str, Any]]) -> None:
    for event in events:
        check_event(event)
    kinds = [(event["job"]["name"], event["eventType"]) for event in events]
    assert kinds == [
        ("night.tones", "START"),
        ("extract.tones", "START"),
        ("extract.tones", "COMPLETE"),
        ("train.m", "START"),
        ("train.m", "FAIL"),
        ("night.tones", "COMPLETE"),
    ]
    assert {event["job"]["namespace"] for event in events} == {"nights"}


def test_the_schemas_find_a_fault(events: list[dict[str, Any]]) -> None:
    with pytest.raises(Exception, match="runId"):
        check_event({**events[0], "run": {"facets": {}}})
    parent = events[1]["run"]["facets"]["parent"]
    with pytest.raises(Exception, match="job"):
        check(parent["_schemaURL"], {key: value for key, value in parent.items() if key != "job"})


def test_a_child_names_its_parent_and_a_run_keeps_its_id(events: list[dict[str, Any]]) -> None:
    night, start, complete, _, fail, end = events
    assert start["run"]["runId"] == complete["run"]["runId"] != night["run"]["runId"] == end["run"]["runId"]
    parent = fail["run"]["facets"]["parent"]
    assert parent["run"] == parent["root"]["run"] == {"runId": night["run"]["runId"]}
    assert parent["job"]["name"] == "night.tones"
    assert fail["run"]["facets"]["errorMessage"]["message"] == "StoreError: bytes are gone\nline two"
    nominal = complete["run"]["facets"]["nominalTime"]["nominalStartTime"]
    assert datetime.fromisoformat(nominal) == datetime(2026, 11, 18, 23, tzinfo=UTC), "midnight of the first, there"


def test_an_orchestrators_run_is_the_parent_of_the_outermost_stage_and_the_first_of_them_the_root() -> None:
    backfill, day, alone = (f"00000000-0000-4000-8000-00000000000{number}" for number in range(3))
    outlet = MemoryOutlet()
    watcher = Watcher([LineageListener(outlet, "nights")])
    with (
        inside_run(backfill, "backfill"),
        inside_run(day, "backfill-day"),
        watcher.stage(Stage.EXTRACT, corpus="tones"),
        watcher.stage(Stage.COMMIT, corpus="tones"),
    ):
        pass
    root = OuterRun(run_id=backfill, job="nightly")
    with inside_run(alone, "extract", root), watcher.stage(Stage.EXTRACT, corpus="tones"):
        pass
    with watcher.stage(Stage.GC):
        pass
    events = [json.loads(line) for line in outlet.events]
    for event in events:
        check_event(event)
    extract, commit, _, _, sent, _, gc, _ = events
    parent, inner = extract["run"]["facets"]["parent"], commit["run"]["facets"]["parent"]
    assert (parent["run"], parent["job"]) == ({"runId": day}, {"namespace": "nights", "name": "backfill-day"})
    assert inner["run"] == {"runId": extract["run"]["runId"]} and inner["job"]["name"] == "extract.tones"
    for facet in (parent, inner):
        assert facet["root"] == {"run": {"runId": backfill}, "job": {"namespace": "nights", "name": "backfill"}}
    assert sent["run"]["facets"]["parent"]["run"] == {"runId": alone}
    assert sent["run"]["facets"]["parent"]["root"]["job"]["name"] == "nightly"
    assert "parent" not in gc["run"]["facets"]


def test_what_was_made_comes_with_schema_version_and_counts(events: list[dict[str, Any]]) -> None:
    values, place = events[2]["outputs"]
    assert (values["namespace"], values["name"]) == ("file", "/store/tones/audio-logmel@1/dt=2026-11-20")
    assert values["facets"]["version"]["datasetVersion"] == "abc"
    assert [field["name"] for field in values["facets"]["schema"]["fields"]] == ["key", "value"]
    quality = values["facets"]["dataQualityMetrics"]
    assert quality["rowCount"] == 3 and quality["columnMetrics"]["value"] == {"nullCount": 3}
    assert quality["mmpipe_counts"] == {"quarantined": 1, "absent": 2}
    assert values["outputFacets"]["outputStatistics"]["size"] == 99
    assert events[2]["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 3
    assert (place["name"], place["facets"]["version"]["datasetVersion"]) == ("models/m", "2-0a1b2c3d")


def test_a_file_has_a_line_per_event(tmp_path: Path) -> None:
    with Watcher([LineageListener(FileOutlet(tmp_path / "lineage.jsonl"), "nights")]).stage(Stage.GC):
        pass
    lines = (tmp_path / "lineage.jsonl").read_text().splitlines()
    assert [json.loads(line)["eventType"] for line in lines] == ["START", "COMPLETE"]
    assert json.loads(lines[0])["job"]["name"] == "gc.store"
