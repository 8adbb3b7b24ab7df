"""`up` and `down` for real: a server of the pinned packages, all deployments, the scheduler, runs by the worker."""

from __future__ import annotations

import os
import random
import signal
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from deployments.api import is_healthy
from deployments.deploy import FILE
from deployments.expand import names_of
from deployments.services import Service, marked_processes
from tests.deployments.quota_pool import QuotaPool
from tests.deployments.up_home import Home, poll
from tests.faults.blows import Blow, Round, Victim
from tests.faults.clips import fill_undisturbed, make_clips
from tests.faults.contest import Contest
from tests.faults.house import House
from tests.faults.processes import TOKEN_VARIABLE

pytestmark = [pytest.mark.prefect, pytest.mark.slow]
NAMES = set(names_of(yaml.safe_load(FILE.read_text())))
SERVICES = {"server", "worker-cpu", "recover", "desk", "keeper"}
CONFIG = """\
store = "store"
timezone = "Europe/Berlin"

[engine]
workers = 1

[corpora.words]
root = "raw"
dates.rule = "path"
night = { cron = "30 1 * * mon-fri", priority = 3, max_runs = 2 }
"""
ANOTHER = """
[corpora.others]
root = "raw"
night = { cron = "", priority = 1 }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Bring everything up once, and down at the end."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "raw").mkdir()
    for day in ("03", "04"):
        (folder / "raw" / f"2026-11-{day}.txt").write_text(f"the words of day {day}")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MMPIPE"))}
    # No GPU: on a machine that has one, the heavy runs would have a pool of their own.
    environment = {**kept, "PREFECT_HOME": str(folder / "prefect"), "CUDA_VISIBLE_DEVICES": ""}
    environment[TOKEN_VARIABLE] = uuid.uuid4().hex
    home = Home(folder=folder, environment=environment, address="")
    home.config.write_text(CONFIG)
    up = home.command("up", "--config", str(home.config), "--port", "4700")
    try:
        assert up.returncode == 0, up.stderr
        yield Home(folder=folder, environment=environment, address=up.stdout.strip())
    finally:
        home.command("down")


def pids_of(services: dict[str, Service]) -> set[int]:
    return {service.pid for service in services.values()}


def test_every_deployment_is_there(home: Home) -> None:
    deployments = home.deployments()
    assert set(deployments) == NAMES
    for name, entry in deployments.items():
        module = name.replace("-", "_")
        assert entry["entrypoint"] == f"flows.{module}.{module}"
        assert entry["job_variables"]["env"]["MMPIPE_CONFIG"] == str(home.config)
        assert entry["work_pool_name"] == "cpu"
    assert (deployments["nightly"]["work_queue_name"], deployments["backfill"]["work_queue_name"]) == (
        *("nights", "backfill"),
    )
    for name in ("nightly", "backfill"):
        assert deployments[name]["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert deployments[name]["global_concurrency_limit"]["limit"] == 1
    crons = {name: [s["schedule"]["cron"] for s in entry["schedules"]] for name, entry in deployments.items()}
    assert {name for name, found in crons.items() if found} == {"nightly", "verify", "gc", "freshness"}
    (schedule,) = deployments["nightly"]["schedules"]
    assert (schedule["active"], schedule["schedule"]["timezone"]) == (True, "Europe/Berlin")
    assert crons["nightly"] == ["30 1 * * mon-fri"]


def test_queues_have_priority_and_limit(home: Home) -> None:
    assert home.queues() == [("default", 1, None), ("nights", 2, None), ("corpus-words", 3, 2), ("backfill", 4, None)]


def test_the_scheduler_makes_runs_of_the_cron(home: Home) -> None:
    """With a wrong SQLAlchemy all looks healthy and no run is ever scheduled."""
    runs = poll(lambda: [run for run in home.ask("/flow_runs/filter", {}) if run["auto_scheduled"]])
    assert {run["state_type"] for run in runs} == {"SCHEDULED"}


@pytest.mark.parametrize(
    ("deployment", "parameters"),
    [
        ("extract", {"batch_clips": 0}),
        ("extract", {"only": "everything"}),
        ("backfill", {"first_date": "2026-11-03"}),
        ("ingest", {"dates": "2026-11-03"}),
    ],
)
def test_a_parameter_past_its_limits_makes_no_run(home: Home, deployment: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        home.start(deployment, **parameters)
    with refusal.value as answer:
        assert answer.code == 409


def test_what_is_killed_is_back(home: Home) -> None:
    killed = {name: service for name, service in home.services().items() if name != "keeper"}
    for service in killed.values():
        os.kill(service.pid, signal.SIGKILL)
    dead = {service.pid for service in killed.values()}
    back = poll(lambda: (found := home.services()).keys() >= SERVICES and not dead & pids_of(found) and found)
    assert {name: replace(back[name], pid=service.pid) for name, service in killed.items()} == killed
    assert poll(lambda: is_healthy(home.address))


def test_a_backfill_from_the_form_runs_its_days_in_the_queue_of_the_corpus(home: Home) -> None:
    """By the worker that came back, from the checkout, through the call that the UI makes."""
    run = home.end_of(home.start("backfill", first_date="2026-11-03", last_date="2026-11-04", max_in_flight=2))
    assert (run["state_type"], run["name"]) == ("COMPLETED", "backfill-words-2026-11-03..2026-11-04"), run["state"]
    days = [r for r in home.ask("/flow_runs/filter", {}) if r["name"].startswith("backfill-day-")]
    assert {day["name"] for day in days} == {"backfill-day-words-2026-11-03", "backfill-day-words-2026-11-04"}
    assert {(day["state_type"], day["work_queue_name"]) for day in days} == {("COMPLETED", "corpus-words")}
    assert all(day["parent_task_run_id"] for day in days)
    assert sorted(path.name for path in (home.folder / "store" / "words" / "clips" / "_meta").iterdir()) == [
        *("dt=2026-11-03", "dt=2026-11-04"),
    ]


@pytest.mark.timeout(600)
def test_a_killed_run_starts_again_by_itself_and_leaves_nobody_and_the_same_bytes(home: Home) -> None:
    """One round of `python -m tests.faults.rounds`, in this house: most of it is the wait of the shipped automation."""
    (home.folder / "struck").mkdir()
    clips = make_clips(home.folder / "struck", home.folder / "no real media", num_clips=12, seed=7)
    house = House(folder=home.folder, token=home.environment[TOKEN_VARIABLE], address=home.address)
    contest = Contest(house, clips, {"nightly": fill_undisturbed(clips, "nightly")}, random.Random(7))
    contest.expected = frozenset(SERVICES)
    blow = Blow(victim=Victim.FLOW, signal=signal.SIGKILL, moment=0.2)
    outcome = contest.play(Round(number=0, kind="nightly", blows=(blow,), restarts_server=False))
    assert (outcome.violations, outcome.notes) == ([], [])
    assert [hit.split()[:2] for hit in outcome.hits] == [["SIGKILL", "flow"]]


def test_the_desk_shows_the_store_and_its_metrics(home: Home) -> None:
    desk = f"http://127.0.0.1:{home.services()['desk'].port}"
    for path, word in (("/", b"Reports"), ("/metrics", b"mmpipe_")):
        with urllib.request.urlopen(f"{desk}{path}", timeout=30) as answer:
            assert word in answer.read()


def test_only_its_own_page_may_call_the_server(home: Home) -> None:
    for origin, allowed in ((home.address, home.address), ("http://evil.example", None)):
        request = urllib.request.Request(f"{home.address}/api/health", headers={"Origin": origin})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_up_again_takes_in_the_config_and_lets_the_rest_be(home: Home) -> None:
    """A corpus more; and what a person switched off stays off."""
    before, weekly = home.services(), home.deployments()["gc"]
    assert set(before) == SERVICES
    off = {"active": False}
    home.ask(f"/deployments/{weekly['id']}/schedules/{weekly['schedules'][0]['id']}", off, "PATCH")
    home.config.write_text(CONFIG + ANOTHER)
    again = home.command("up", "--config", str(home.config))
    assert again.stdout.strip() == home.address, again.stderr
    assert home.services() == before
    after = home.deployments()
    assert set(after) == NAMES - {"nightly"} | {"nightly-words", "nightly-others"}
    assert "removed the deployment nightly" in again.stderr
    assert (after["gc"]["id"], after["gc"]["schedules"][0]["active"]) == (weekly["id"], False)
    assert after["nightly-others"]["schedules"] == []
    assert after["nightly-words"]["parameters"] == {"parameters": {"corpus": "words"}}
    assert home.queues()[2:4] == [("corpus-others", 3, 4), ("corpus-words", 4, 2)]


def test_a_corpus_of_low_priority_waits_and_the_quota_of_the_first_leaves_it_room(home: Home) -> None:
    pool = QuotaPool(home.address)
    pool.order("archive", 3)  # first come, last served
    pool.order("news", 4)
    first = pool.take(2)
    assert [run["name"] for run in first] == ["news", "news"], "what waits longer has the lower priority"
    second = pool.take(2)
    assert [run["name"] for run in second] == ["archive", "archive"], "news has its two runs: the slots are not idle"
    pool.set_state(first[0], "COMPLETED")
    assert [run["name"] for run in pool.take(1)] == ["news"], "its slot goes to the corpus that is served first"
    pool.set_state(first[1], "COMPLETED")
    assert [run["name"] for run in pool.take(9)] == ["news", "archive"]
    assert pool.take(9) == []


def test_other_settings_are_refused_while_it_runs(home: Home) -> None:
    other = home.command("up", "--config", str(home.config), "--host", "127.0.0.2")
    assert other.returncode == 3
    assert "with other settings" in other.stderr


def test_down_leaves_nothing_but_the_data(home: Home) -> None:
    before = home.services()
    assert home.command("down").returncode == 0
    assert home.services() == {}
    assert [marked_processes(service.mark) for service in before.values()] == [()] * len(SERVICES)
    assert (home.folder / "prefect" / "prefect.db").exists()
    assert "nothing was up" in home.command("down").stderr
