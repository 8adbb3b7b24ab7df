"""The form of every flow: what the UI shows and the server enforces, without a server."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

import pytest
from prefect import Flow
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError as Refused
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError

from flows.backfill import backfill
from flows.backfill_day import backfill_day
from flows.extract import extract
from flows.freshness import freshness
from flows.gc import gc
from flows.ingest import ingest
from flows.life import MOST_STARTS
from flows.nightly import nightly
from flows.parameters import BackfillParameters, NightlyParameters
from flows.release import release
from flows.train import train
from flows.verify import verify
from mmpipe.errors import ShardError
from tasks.plan import MAX_DAYS

FLOWS: dict[str, Flow[..., Any]] = {
    "backfill": backfill,
    "backfill-day": backfill_day,
    "extract": extract,
    "freshness": freshness,
    "gc": gc,
    "ingest": ingest,
    "nightly": nightly,
    "release": release,
    "train": train,
    "verify": verify,
}


def fields_of(flow: Flow[..., Any]) -> dict[str, Any]:
    """The fields of the one model that a flow takes, as the server stores them."""
    schema = parameter_schema(flow)
    assert set(schema.properties) == {"parameters"}
    models = [model for model in schema.definitions.values() if "properties" in model]
    assert len(models) == 1
    assert models[0]["additionalProperties"] is False
    return dict(models[0]["properties"])


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_every_field_is_explained_and_has_a_title(name: str) -> None:
    assert FLOWS[name].name == name
    for field, schema in fields_of(FLOWS[name]).items():
        assert schema.get("description"), field
        assert schema.get("title") or "$ref" in schema, field


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_no_flow_starts_for_ever(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(MOST_STARTS + 1))
    with pytest.raises(ShardError, match="allowed are 5"):  # before it looks at what it is asked for
        FLOWS[name].fn(None)


@pytest.mark.parametrize("name", ["ingest", "extract", "freshness", "gc", "nightly", "train", "verify"])
def test_a_flow_that_a_clock_or_a_click_starts_needs_no_parameter(name: str) -> None:
    assert not parameter_schema(FLOWS[name]).required


def test_the_backfill_form_has_date_pickers_choices_and_limits() -> None:
    fields = fields_of(backfill)
    assert fields["first_date"]["format"] == fields["last_date"]["format"] == "date"
    assert (fields["max_in_flight"]["minimum"], fields["max_in_flight"]["maximum"]) == (1, 16)
    assert fields["dry_run"]["type"] == fields["force"]["type"] == "boolean"
    assert fields["features"]["items"]["pattern"], "names only"
    choices = parameter_schema(backfill).definitions["Only"]["enum"]
    assert choices == ["due", "missing", "stale", "failed", "all"]


def ask_server(flow: Flow[..., Any], values: Mapping[str, object]) -> None:
    """Create a run as the server does, as far as it looks at the parameters."""
    validate({"parameters": dict(values)}, parameter_schema(flow).model_dump_for_openapi(), raise_on_error=True)


RANGE = {"first_date": "2026-11-01", "last_date": "2026-11-30"}


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_the_server_takes_no_word_for_a_date(name: str) -> None:
    dates = [field for field in fields_of(FLOWS[name]) if field.endswith("date")]
    required = {"date": "2026-11-01"} if name == "backfill-day" else RANGE if name == "backfill" else {}
    for field in dates:
        ask_server(FLOWS[name], required | {field: "2028-02-29"})
        for wrong in ("yesterday", "2026-13-01", "20.11.2026", 20261120):
            with pytest.raises(Refused, match=re.escape(f"parameters.{field}")):
                ask_server(FLOWS[name], required | {field: wrong})
    assert dates or name in {"freshness", "gc", "release", "train", "verify"}


@pytest.mark.parametrize(
    ("flow", "values"),
    [
        (backfill, RANGE | {"max_in_flight": 17}),
        (backfill, RANGE | {"max_in_flight": 0}),
        (backfill, RANGE | {"max_in_flight": "4"}),
        (backfill, RANGE | {"only": "some"}),
        (backfill, RANGE | {"features": ["../x"]}),
        (backfill, RANGE | {"corpus": "../x"}),
        (backfill, RANGE | {"colour": 3}),
        (backfill, {"first_date": "2026-11-01"}),
        (nightly, {"batch_clips": 0}),
        (nightly, {"model": "a b"}),
        (gc, {"days": -1}),
        (release, {"checkpoint": ""}),
    ],
)
def test_limits_and_choices_hold_at_the_server(flow: Flow[..., Any], values: dict[str, object]) -> None:
    with pytest.raises(Refused):
        ask_server(flow, values)


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_a_form_is_numbered_with_the_dates_behind_the_corpus_and_the_config_last(name: str) -> None:
    fields = fields_of(FLOWS[name])
    assert [schema["position"] for schema in fields.values()] == list(range(len(fields)))
    assert list(fields)[-1] == "config"
    dates = [field for field in fields if field.endswith("date")]
    if dates:
        assert list(fields)[: len(dates) + 1] == ["corpus", *dates] or list(fields)[:3] == ["corpus", "model", *dates]


def test_a_range_names_its_days_in_order() -> None:
    parameters = BackfillParameters(first_date=datetime.date(2026, 2, 27), last_date=datetime.date(2026, 3, 1))
    assert parameters.dts == ("2026-02-27", "2026-02-28", "2026-03-01")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"first_date": "2026-11-02", "last_date": "2026-11-01"}, "is 0 days"),
        ({"first_date": "2020-01-01", "last_date": "2026-11-01"}, f"1 to {MAX_DAYS} are possible"),
        ({"first_date": "2026-11-01", "last_date": "2026-11-02", "max_in_flight": 0}, "greater than or equal to 1"),
        ({"first_date": "2026-11-01", "last_date": "2026-11-02", "only": "some"}, "'due', 'missing'"),
        ({"first_date": "2026-11-01", "last_date": "2026-11-02", "features": ["../x"]}, "pattern"),
        ({"first_date": "2026-11-01", "last_date": "2026-11-02", "colour": 3}, "Extra inputs"),
    ],
)
def test_a_wrong_backfill_is_refused_with_the_reason(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        BackfillParameters.model_validate(values)


@pytest.mark.parametrize("name", ["../etc", "Tones", "a b", "-x"])
def test_a_name_is_a_name(name: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        NightlyParameters(corpus=name)
