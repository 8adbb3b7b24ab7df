"""`prefect.yaml`, and what it becomes for the corpora of a config."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from deployments.deploy import FILE
from deployments.expand import Schedule, expand, names_of, read_deployed, retired
from mmpipe.config import NightConfig

DOCUMENT = yaml.safe_load(FILE.read_text())
NAMES = {
    *("nightly", "backfill", "backfill-day", "ingest", "extract", "train", "release", "verify", "gc", "freshness"),
}
TWO = {"street": NightConfig(cron="30 1 * * mon-fri"), "attic": NightConfig(cron="")}


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in document["deployments"]}


def test_every_deployment_names_a_flow_of_its_name() -> None:
    assert set(names_of(DOCUMENT)) == NAMES
    for name, entry in by_name(DOCUMENT).items():
        module, _, attribute = entry["entrypoint"].rpartition(".")
        flow = getattr(importlib.import_module(module), attribute)
        assert flow.name == name
        assert list(flow.parameters.properties) == ["parameters"]


def test_each_stands_in_its_queue() -> None:
    places = {
        name: (e["work_pool"]["name"], e["work_pool"]["work_queue_name"]) for name, e in by_name(DOCUMENT).items()
    }
    heavy = ("{{ $MMPIPE_HEAVY_POOL }}", "default")
    assert places.pop("nightly") == ("cpu", "nights")
    assert places.pop("backfill") == ("cpu", "backfill")
    assert [places.pop(name) for name in ("backfill-day", "extract", "train")] == [heavy] * 3
    assert set(places.values()) == {("cpu", "default")}


@pytest.mark.parametrize("name", ["nightly", "backfill", "verify", "gc", "freshness"])
def test_what_must_not_meet_itself_is_run_one_by_one(name: str) -> None:
    assert by_name(DOCUMENT)[name]["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_nothing_that_deletes_is_scheduled_to_delete() -> None:
    assert "parameters" not in by_name(DOCUMENT)["gc"], "the default of the flow is a listing; a person chooses more"


def test_one_corpus_keeps_the_plain_name() -> None:
    entry = by_name(expand(DOCUMENT, {"street": NightConfig(cron="5 3 * * *")}))["nightly"]
    assert [schedule["cron"] for schedule in entry["schedules"]] == ["5 3 * * *"]
    assert "parameters" not in entry


def test_several_corpora_have_a_night_each() -> None:
    expanded = by_name(expand(DOCUMENT, TWO))
    assert set(expanded) == NAMES - {"nightly"} | {"nightly-street", "nightly-attic"}
    street, attic = expanded["nightly-street"], expanded["nightly-attic"]
    assert street["parameters"] == {"parameters": {"corpus": "street"}}
    assert [(s["cron"], s["timezone"]) for s in street["schedules"]] == [("30 1 * * mon-fri", "{{ $MMPIPE_TIMEZONE }}")]
    assert attic["schedules"] == [], "an empty list takes a schedule away; none would leave the one that is there"
    assert street["concurrency_limit"] == attic["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_without_a_config_the_file_stands() -> None:
    assert names_of(expand(DOCUMENT, {})) == names_of(DOCUMENT)
    assert by_name(expand(DOCUMENT, {}))["nightly"]["schedules"] == by_name(DOCUMENT)["nightly"]["schedules"]


def test_the_same_config_gives_the_same_document_and_the_file_is_not_touched() -> None:
    before = yaml.safe_dump(DOCUMENT)
    assert expand(DOCUMENT, TWO) == expand(DOCUMENT, dict(reversed(TWO.items())))
    assert yaml.safe_dump(DOCUMENT) == before


def test_what_a_person_switched_off_stays_off() -> None:
    off = [Schedule(deployment="gc", slug="every-week")]
    expanded = by_name(expand(DOCUMENT, {}, off))
    assert expanded["gc"]["schedules"][0]["active"] is False
    assert "active" not in expanded["verify"]["schedules"][0]


def row(name: str, *, flow: str = "of-nightly", tags: tuple[str, ...] = ("mmpipe",), active: bool = True) -> Any:
    schedules = [{"slug": "every-night", "active": active}, {"slug": None, "active": False}]
    return {"name": name, "id": f"id-{name}", "flow_id": flow, "tags": list(tags), "schedules": schedules}


def test_a_corpus_that_left_the_config_is_retired_and_nobody_else() -> None:
    rows = [
        row("nightly-street", active=False),
        row("nightly-gone"),
        row("nightly-mine", tags=()),
        row("nightly-of-another-flow", flow="another"),
    ]
    deployed = read_deployed(rows, ["of-nightly"])
    assert retired(deployed, expand(DOCUMENT, TWO)) == {"nightly-gone": "id-nightly-gone"}
    assert deployed.switched_off == {Schedule(deployment="nightly-street", slug="every-night")}
