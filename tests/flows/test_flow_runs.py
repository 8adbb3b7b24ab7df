"""Flows on a real server, over real files, with the real steps."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from flows.backfill import backfill
from flows.gc import gc
from flows.nightly import nightly
from flows.parameters import BackfillParameters, GcParameters, NightlyParameters, VerifyParameters
from flows.verify import verify
from mmpipe.errors import HeldError, TransientError
from tasks.policy import MOST_TRIES, STEP

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_server")]
DAY = datetime.date(2026, 11, 3)
BY_PATH = '[corpora.tones.dates]\nrule = "path"\n'


def artifact(key: str) -> Any:
    """What the newest artifact of a key holds."""
    with get_client(sync_client=True) as client:
        (newest, *_) = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])), sort=ArtifactSort.CREATED_DESC
        )
    return json.loads(newest.data) if newest.type == "table" else newest.data


def name_of(state: Any) -> str:
    """The name that the run of a state got."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id).name


def manifests(config: Path) -> dict[str, bytes]:
    store = config.parent / "store"
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("_meta/*/*.json"))}


def test_a_night_fills_the_store_and_the_next_one_finds_nothing_to_do(write_corpus: Callable[..., Path]) -> None:
    config = write_corpus({f"a{number}.wav": None for number in range(5)})
    parameters = NightlyParameters(config=str(config), date=DAY, batch_clips=2)
    first = nightly(parameters, return_state=True)
    assert (first.type, first.message) == ("COMPLETED", "no model to train")
    assert name_of(first) == "nightly-tones-2026-11-03"
    made = manifests(config)
    assert "tones/audio-logmel@1/_meta/dt=2026-11-03/000001.json" in made
    assert [row["files"] for row in artifact("nightly-tones-ingest")] == [5]
    assert [row["written"] for row in artifact("nightly-tones-commit")] == [5]
    assert "3 shards are due" in artifact("nightly-tones-summary")
    assert "bottleneck" in artifact("nightly-tones-summary"), "how close it came to what the machine can do"

    assert nightly(parameters, return_state=True).type == "COMPLETED"
    assert manifests(config) == made
    assert "0 shards are due" in artifact("nightly-tones-summary")
    require_kept(config)


def require_kept(config: Path) -> None:
    """The store is whole, with nothing to tidy; one damaged object fails the check by name, and a repair mends it."""
    assert gc(GcParameters(config=str(config), days=0), return_state=True).message.startswith("0 things, 0 bytes")
    assert verify(VerifyParameters(config=str(config)), return_state=True).type == "COMPLETED"
    damaged = next((config.parent / "store/tones/audio-logmel@1/objects").rglob("*/*"))
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    state = verify(VerifyParameters(config=str(config)), return_state=True)
    assert state.type == "FAILED" and "not what they should be" in state.message
    assert any(damaged.name in row["path"] for row in artifact("verify-verify"))
    mended = verify(VerifyParameters(config=str(config), corpus="tones", repair=True), return_state=True)
    assert mended.type == "COMPLETED"
    assert "set aside" in {row["action"] for row in artifact("verify-tones-repair")}


def test_a_night_that_fails_says_why_on_its_page_or_with_the_way_out(write_corpus: Callable[..., Path]) -> None:
    config = write_corpus({"good.wav": None, "bad.wav": b"RIFF....WAVEnonsense" * 9}, "max_quarantined = 0.1")
    state = nightly(NightlyParameters(config=str(config), date=DAY), return_state=True)
    assert state.type == "FAILED"
    assert "50% of the files of 'tones' are in quarantine" in artifact("nightly-tones-summary")
    assert any("clips/_meta" in name for name in manifests(config)), "what is good is committed all the same"
    assert any("audio-logmel@1/_meta" in name for name in manifests(config)), "and gets its features"
    assert [row["example"] for row in artifact("nightly-tones-quarantine")] == ["bad.wav"]

    state = nightly(NightlyParameters(config=str(config.parent / "none.toml"), date=DAY), return_state=True)
    assert state.type == "FAILED"
    assert "mmpipe init" in state.message
    assert name_of(state) == "nightly-no-config"


def require_lineage(events: list[dict[str, Any]], backfill: str) -> None:
    """The stages of a day have the run of the day as their parent, and that of the backfill as their root."""
    parents = {event["job"]["name"]: event["run"]["facets"]["parent"] for event in events}
    for stage in ("ingest.tones", "extract.tones"):
        assert parents[stage]["job"]["name"] == "backfill-day"
        assert parents[stage]["root"]["job"]["name"] == "backfill"
        assert parents[stage]["root"]["run"] == {"runId": backfill} != parents[stage]["run"]


@pytest.mark.slow
def test_a_backfill_goes_on_past_a_failed_day_and_skips_what_is_complete(
    write_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_corpus(
        {"2026-11-01/a.wav": None, "2026-11-02/b.wav": b"RIFF....WAVEnonsense" * 9, "2026-11-03/c.wav": None},
        f'max_quarantined = 0.1\n{BY_PATH}[watch]\nlineage = "{tmp_path}/lineage.jsonl"',
    )
    wish = {"config": str(config), "first_date": datetime.date(2026, 11, 1), "last_date": DAY}
    dry = backfill(BackfillParameters(**wish, dry_run=True), return_state=True)
    assert dry.message == "dry run: 3 of 3 days would run"
    assert not (config.parent / "store").exists(), "a dry run writes nothing"

    state = backfill(BackfillParameters(**wish, max_in_flight=2), return_state=True)
    aside = "1 day has 1 thing in quarantine (1 not_media): mmpipe quarantine ls --corpus tones --dt 2026-11-02"
    assert (state.type, state.message) == ("FAILED", f"1 of 3 days failed: 2026-11-02; 0 skipped; {aside}")
    assert name_of(state) == "backfill-tones-2026-11-01..2026-11-03"
    events = [json.loads(line) for line in (tmp_path / "lineage.jsonl").read_text().splitlines()]
    require_lineage(events, str(state.state_details.flow_run_id))
    rows = artifact("backfill-tones-table")
    assert [(row["dt"], row["run"], row["audio-logmel@1"]) for row in rows] == [
        ("2026-11-01", "Completed", "complete"),
        ("2026-11-02", "Failed", "no clips"),
        ("2026-11-03", "Completed", "complete"),
    ]
    assert "100% of the files of 'tones' are in quarantine" in rows[1]["detail"]
    known = backfill(BackfillParameters(**wish), return_state=True)  # no new file: it is counted, and no night fails
    assert (known.type, known.message) == ("COMPLETED", f"0 days filled, 2 skipped, 1 in quarantine; {aside}")
    (first, *_) = artifact("backfill-tones-table")
    assert (first["dt"], first["run"], first["quarantined"]) == ("2026-11-02", "in quarantine", "1 not_media")
    (config.parent / "raw/2026-11-02/b.wav").unlink()
    again = backfill(BackfillParameters(**wish), return_state=True)
    assert (again.type, again.message) == ("COMPLETED", f"1 day filled, 2 skipped; {aside}"), "its row stays"


def test_only_what_the_moment_is_to_blame_for_is_tried_again() -> None:
    """A lease that somebody holds until it is free, what passes by itself a few times, a fault of ours once."""
    calls: Counter[type[Exception]] = Counter()

    @task(**STEP | {"retry_delay_seconds": 0})
    def fails(error: type[Exception], times: int) -> str:
        calls[error] += 1
        if calls[error] <= times:
            raise error("as asked")
        return "done"

    @flow
    def try_it() -> list[str]:
        faults = [(HeldError, MOST_TRIES + 2), (TransientError, 99), (ValueError, 99)]
        return [fails(error, times, return_state=True).type for error, times in faults]

    assert try_it() == ["COMPLETED", "FAILED", "FAILED"]
    assert calls == {HeldError: MOST_TRIES + 3, TransientError: MOST_TRIES, ValueError: 1}
