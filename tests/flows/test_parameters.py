"""The form of every flow: what the UI shows and the server enforces, without a server."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from prefect import Flow
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows.backfill import backfill
from flows.backfill_day import backfill_day
from flows.extract import extract
from flows.freshness import freshness
from flows.gc import gc
from flows.ingest import ingest
from flows.nightly import nightly
from flows.parameters import BackfillParameters, NightlyParameters
from flows.release import release
from flows.train import train
from flows.verify import verify
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
