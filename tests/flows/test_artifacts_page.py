"""The page of a run, over real files and real steps, with a door to memory instead of a server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from mmpipe.config import load_config
from mmpipe.errors import PartialError, ShardError
from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.plan.plan import Only, plan_corpus
from mmpipe.steps.quarantine.quarantine_reasons import ReasonCount
from tasks.artifacts import MOST_ROWS, RunPage, open_page, run_page
from tasks.assets import MATERIALIZED, SWITCH_VARIABLE
from tasks.commit import commit_dates
from tasks.extract import extract_shards
from tasks.ingest import ingest_corpus
from tasks.page.door import KeptArtifacts
from tasks.page.publisher import DELAYS_S
from tasks.report import write_report

DT = "2026-11-03"
BROKEN = b"RIFF....WAVEnonsense" * 9


@pytest.fixture
def sent() -> Iterator[Callable[[], list[Any]]]:
    """Return a function that gives the asset events so far."""
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)

    def ours() -> list[Any]:
        EventsWorker.instance().wait_until_empty()
        events = [event for client in AssertingEventsClient.all for event in getattr(client, "events", ())]
        return [event for event in events if event.event == MATERIALIZED]

    yield ours
    EventsWorker.instance().drain()
    EventsWorker.set_client_override(None)  # task runs come to the server as events: others wait for theirs


def night(config_path: Path, page: RunPage) -> None:
    """Do what a night does, its batches in threads as a task runner has them."""
    config = load_config(config_path)
    page.add("ingest", ingest_corpus.fn(config, "tones", DT))
    plan = plan_corpus(config, "tones")
    page.bars.expect("extract", sum(due.clips for due in plan.shards))
    batches = plan.batches(2)
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(copy_context().run, extract_shards.fn, config, "tones", batch, number, len(batches))
            for number, batch in enumerate(batches, start=1)
        ]
        reports = [run.result() for run in runs]
    page.add("commit", commit_dates.fn(config, "tones", (DT,)))
    for report in reports:
        page.add("extract", report)
    write_report.fn(config, "tones", DT)


def test_a_night_fills_its_page(write_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPIPE_DESK_URL", "http://desk.example")
    files = {"a.wav": None, "b.wav": None, "c.wav": None, "<img src=x>.wav": BROKEN}
    config = write_corpus(files, "max_quarantined = 0.5")
    door = KeptArtifacts()
    with run_page("nightly", "tones", door=door) as page:
        night(config, page)
    assert open_page() is None

    shards = door.rows("nightly-tones-shards")
    assert sorted(row["batch"] for row in shards) == ["1 of 2", "2 of 2"]
    assert [sum(row[name] for row in shards) for name in ("shards", "made", "failed", "computed")] == [2, 2, 0, 3]
    assert door.rows("nightly-tones-ledger") == [{"dt": DT, "audio-logmel@1": "complete"}]
    (reason,) = door.rows("nightly-tones-quarantine")
    assert list(reason) == ["dt", "stage", "code", "count", "example", "detail", "replay"]
    assert (reason["dt"], reason["stage"], reason["count"]) == (DT, "probe", 1)
    assert "<" not in reason["example"] + reason["detail"] + reason["replay"]
    assert [row["written"] for row in door.rows("nightly-tones-commit")] == [3]
    assert [row["files"] for row in door.rows("nightly-tones-ingest")] == [4]
    assert "bottleneck" in [row["what"] for row in door.rows("nightly-tones-speed")]
    for stage in ("probe", "extract"):
        assert door.newest(f"nightly-tones-progress-{stage}").data == 100.0
    assert "http://desk.example/reports/tones-2026-11-03.html" in str(door.newest("nightly-tones-report").data)
    summary = str(door.newest("nightly-tones-summary").data)
    assert summary.count("## extract") == 1 and "1 feature of `tones` committed" in summary


def test_too_much_in_quarantine_is_on_the_page_of_the_run_that_fails(write_corpus: Callable[..., Path]) -> None:
    config = load_config(write_corpus({"good.wav": None, "bad.wav": BROKEN}, "max_quarantined = 0.1"))
    door = KeptArtifacts()
    with pytest.raises(PartialError), run_page("ingest", "tones", door=door):
        ingest_corpus.fn(config, "tones", DT)
    assert [row["example"] for row in door.rows("ingest-tones-quarantine")] == ["bad.wav"]
    summary = str(door.newest("ingest-tones-summary").data)
    assert "## failed\n\n    50% of the files of 'tones'" in summary, "as a block: it may quote names of files"


def test_shards_that_could_not_be_made_are_on_the_page(
    write_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(write_corpus({f"a{number}.wav": None for number in range(4)}))
    ingest_corpus.fn(config, "tones", DT)
    shards = plan_corpus(config, "tones").shards
    door = KeptArtifacts()
    with pytest.raises(ShardError) as failure, run_page("extract", "tones", door=door):
        monkeypatch.setenv("MMPIPE_FAULT", "link@receipts:1+:EIO")
        extract_shards.fn(config, "tones", shards)
    assert isinstance(failure.value.report, ExtractReport)
    (row,) = door.rows("extract-tones-shards")
    assert (row["shards"], row["made"], row["failed"]) == (2, 0, 2)


def test_a_server_that_never_answers_costs_the_page_and_not_the_run(write_corpus: Callable[..., Path]) -> None:
    class Gone(KeptArtifacts):
        def put(self, artifact: Any) -> Any:
            raise ConnectionError("nobody is there")

    config = write_corpus({"a.wav": None})
    with run_page("nightly", "tones", door=Gone(), pause=lambda delay_s: None) as page:
        night(config, page)
    assert (config.parent / "store/tones/audio-logmel@1/_meta" / f"dt={DT}").is_dir()


@pytest.mark.slow
def test_a_run_goes_on_where_nobody_listens_at_the_servers_address() -> None:
    knocks: list[float] = []
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        run_page("nightly", "tones", pause=knocks.append) as page,
    ):
        page.note("plan", "3 shards are due.")
    assert len(knocks) == len(DELAYS_S), "it was tried a few times"


def test_what_cannot_be_made_into_a_page_does_not_hide_how_the_run_ended() -> None:
    door = KeptArtifacts()
    with pytest.raises(ShardError, match="as it was"), run_page("nightly", "tones", door=door) as page:
        page.rows.append(cast(Any, None))
        raise ShardError("as it was")


def test_a_long_table_is_cut_and_says_so() -> None:
    door = KeptArtifacts()
    with run_page("nightly", "tones", door=door) as page:
        page.show_quarantine(
            ReasonCount(dt=DT, stage="probe", code=f"code_{number}", count=1, example="", detail="", replay="")
            for number in range(MOST_ROWS + 1)
        )
    assert len(door.rows("nightly-tones-quarantine")) == MOST_ROWS
    assert f"the first {MOST_ROWS:,} of {MOST_ROWS + 1:,}" in door.newest("nightly-tones-quarantine").description


def test_asset_events_are_sent_where_asked_for_and_once_a_revision(
    write_corpus: Callable[..., Path], sent: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config_path = write_corpus({"a.wav": None})
    config = load_config(config_path)
    ingest_corpus.fn(config, "tones", DT)
    extract_shards.fn(config, "tones", plan_corpus(config, "tones").shards)
    monkeypatch.setenv(SWITCH_VARIABLE, "1")
    commit_dates.fn(config, "tones", (DT,))
    (event,) = sent()
    assert event.resource["prefect.resource.id"] == f"mmpipe://tones/audio-logmel@1/dt={DT}"
    manifest = next((config_path.parent / "store/tones/audio-logmel@1/_meta" / f"dt={DT}").glob("*.json"))
    assert (event.payload["revision"], event.payload["samples"]) == (1, 1)
    assert event.payload["digest"] == hashlib.sha256(manifest.read_bytes()).hexdigest()

    commit_dates.fn(config, "tones", (DT,))
    assert len(sent()) == 1, "nothing new was committed"
    monkeypatch.delenv(SWITCH_VARIABLE)
    extract_shards.fn(config, "tones", plan_corpus(config, "tones", only=Only.ALL).shards)
    commit_dates.fn(config, "tones", (DT,))
    assert len(sent()) == 1, "and without the switch nobody is told"
