"""What flows tell people: the events, through Prefect's own recording client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.events import Event
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker

from flows.freshness import freshness
from flows.parameters import FreshnessParameters
from mmpipe.config import load_config
from mmpipe.errors import PartialError
from mmpipe.steps.release.release import ReleaseReport
from tasks.events import Notice, What, emit_notice, tell_of_refusal
from tasks.ingest import ingest_corpus

DT = "2026-11-03"
NOTICE = Notice(what=What.DRIFT_FOUND, kind="corpus", name="tones", text="louder", about="audio-logmel@1")


@pytest.fixture
def told() -> Iterator[Callable[[], list[Event]]]:
    """Return a function that gives our events so far."""
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)

    def ours() -> list[Event]:
        EventsWorker.instance().wait_until_empty()
        sent = [event for client in AssertingEventsClient.all for event in getattr(client, "events", ())]
        return [event for event in sent if event.event.startswith("mmpipe.")]

    yield ours
    EventsWorker.instance().drain()  # the next test gets a client of its own
    EventsWorker.set_client_override(None)


def in_a_flow(what: Callable[[], Any]) -> Any:
    @flow(persist_result=False)
    def tells() -> Any:
        return what()

    return tells(return_state=True)


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_server")
def test_a_flow_tells_what_it_is_about_and_which_run_it_is(
    write_corpus: Callable[..., Path], told: Callable[[], list[Event]]
) -> None:
    state = in_a_flow(lambda: emit_notice(NOTICE))
    (event,) = told()
    assert (event.event, event.resource.id, event.payload) == (
        "mmpipe.drift.found",
        "mmpipe.corpus.tones",
        {"text": "louder"},
    )
    labels = dict(event.resource.items())
    assert (labels["mmpipe.what"], labels["mmpipe.about"]) == ("mmpipe.drift.found", "audio-logmel@1")
    assert f"prefect.flow-run.{state.state_details.flow_run_id}" in [related.id for related in event.related]

    long = replace(NOTICE, text="x" * 3_000_000)
    assert in_a_flow(lambda: emit_notice(long)).is_completed() and len(told()) == 2, "a text of any length is told"

    bad = write_corpus({"good.wav": None, "bad.wav": b"RIFF....WAVEnonsense" * 9}, "max_quarantined = 0.1")
    state = in_a_flow(lambda: ingest_corpus(load_config(bad), "tones", DT))
    with pytest.raises(PartialError):
        state.result()
    event = told()[2]
    assert event.event == "mmpipe.quarantine.high" and "50% of the files of 'tones'" in event.payload["text"]

    in_a_flow(lambda: [release("old", "refused", False), release("good", "candidate", True)])
    in_a_flow(lambda: release("bad", "refused", True))
    (event,) = told()[3:]
    assert (event.event, event.resource.id) == ("mmpipe.gate.refused", "mmpipe.model.bad"), "and no other, nor twice"
    assert event.payload["text"] == "bad@v2 was refused. It is worse."


def release(model: str, status: str, is_new: bool) -> None:
    said = {"offered": "nothing", "offered_version": "", "production": "", "rows": ()}
    tell_of_refusal(
        ReleaseReport(model=model, status=status, version="v2", sentence="It is worse.", is_new=is_new, **said)
    )


def test_outside_of_a_flow_nobody_is_told(told: Callable[[], list[Event]]) -> None:
    emit_notice(NOTICE)
    assert told() == []


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_server")
def test_the_freshness_check_completes_and_tells_of_what_is_late(
    write_corpus: Callable[..., Path], told: Callable[[], list[Event]]
) -> None:
    state = freshness(FreshnessParameters(config=str(write_corpus({"a.wav": None}))), return_state=True)
    assert state.message == "no corpus has a `max_age_h`: nothing is promised" and told() == []

    config = write_corpus({"a.wav": None}, 'max_age_h_of = { "audio-logmel" = 1 }')
    parameters = FreshnessParameters(config=str(config))
    assert freshness(parameters, return_state=True).is_failed(), "no store: the check could not be made"
    ingest_corpus.fn(load_config(config), "tones", DT)
    state = freshness(parameters, return_state=True)
    assert state.is_completed()
    assert state.message == (
        "1 of 1 features late: tones: the newest whole date of audio-logmel@1 is not there yet; max_age_h = 1"
    )
    (event,) = told()
    assert event.event == "mmpipe.freshness.missed" and "audio-logmel@1" in event.payload["text"]
