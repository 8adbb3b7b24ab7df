"""What the doctor says of a Prefect server, well and ill, over real HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_prefect import TELLS, FakePrefect, automation, served
from packaging.requirements import Requirement

from mmpipe.steps.tell.doctor_packages import BOUNDS, Bounds, check_packages, check_prefect_home, check_zone
from mmpipe.steps.tell.doctor_server import NO_SERVER, clock_row, examine_server, examine_site
from mmpipe.steps.tell.server_door import Answer, HttpDoor, Site, find_site

ZONE = "Europe/Berlin"
REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def server() -> Iterator[FakePrefect]:
    fake = FakePrefect()
    fake.deploy("nightly-av", ZONE)
    fake.deploy("ingest")
    fake.deploy("somebody-elses", "Asia/Tokyo", tags=[], work_pool_name="theirs")
    fake.planned.add("d-nightly-av")
    with served(fake):
        yield fake


def look(server: FakePrefect, **environment: str) -> dict[str, tuple[str, str]]:
    known = {"PREFECT_API_URL": f"{server.address}/api"} | environment
    return {row.check: (row.state, row.detail) for row in examine_server(ZONE, known)}


def test_a_server_that_is_well(server: FakePrefect) -> None:
    found = look(server)
    assert {state for state, _ in found.values()} == {"ok"}
    assert found["server"][1] == f"{server.address}/api: Prefect 3.8.8"
    assert found["access"][1] == "no password; it listens on this machine alone"
    assert found["pools"][1] == "cpu: 1 worker online"
    assert found["schedules"][1] == "runs are planned of nightly-av"


def test_a_schedule_without_runs_is_a_dead_scheduler(server: FakePrefect) -> None:
    server.planned.clear()
    state, detail = look(server)["schedules"]
    assert state == "wrong" and "no run is planned of nightly-av" in detail and "SQLAlchemy 2.1" in detail
    server.deployments.clear()
    server.deploy("nightly-av", ZONE, age=timedelta(seconds=20))
    assert look(server)["schedules"][0] == "weak", "the scheduler has not had its turn"
    server.deployments[0]["paused"] = True
    assert look(server)["schedules"] == ("weak", "no deployment of mmpipe has a schedule that is switched on")


def test_a_schedule_in_another_zone_than_the_config_says(server: FakePrefect) -> None:
    server.deploy("nightly-old", "UTC")
    server.planned.add("d-nightly-old")
    state, detail = look(server)["schedules"]
    assert state == "wrong" and "nightly-old (UTC)" in detail and ZONE in detail


@pytest.mark.parametrize(
    ("ill", "why"),
    [
        ({"online": {"cpu": ["OFFLINE"]}}, "cpu has no worker online"),
        ({"online": {"cpu": []}}, "cpu has no worker online"),
        ({"paused": {"cpu"}}, "cpu is paused"),
        ({"online": {"gpu": ["ONLINE"], "cpu": ["ONLINE"]}, "pool": "other"}, "other is not there"),
    ],
)
def test_a_pool_where_nobody_works(server: FakePrefect, ill: dict[str, Any], why: str) -> None:
    if pool := ill.pop("pool", None):
        server.deployments[1]["work_pool_name"] = pool
        server.online = {**ill.pop("online"), pool: []}
        answer = server.answer
        server.answer = lambda path, *rest: (404, {}) if path.endswith(f"/{pool}") else answer(path, *rest)
    for name, value in ill.items():
        setattr(server, name, value)
    state, detail = look(server)["pools"]
    assert state == "wrong" and why in detail


@pytest.mark.parametrize(
    ("there", "state", "why"),
    [
        ([automation("my own", TELLS, tag="mine")], "wrong", "Running for ever"),
        ([automation("dead")], "weak", "MMPIPE_NOTIFY_URL"),
        ([automation("dead", enabled=False), automation("tell", TELLS)], "weak", "switched off: dead"),
    ],
)
def test_automations_that_are_missing_or_off(
    server: FakePrefect, there: list[dict[str, Any]], state: str, why: str
) -> None:
    server.automations = there
    assert look(server)["automations"][0] == state and why in look(server)["automations"][1]


def test_a_server_that_knows_nothing_of_us(server: FakePrefect) -> None:
    server.deployments.clear()
    assert look(server)["pools"] == ("wrong", "no deployment of mmpipe is known to the server: ./run up")


def test_a_password_is_asked_for_and_used(server: FakePrefect) -> None:
    server.auth = "mmpipe:right"
    (told,) = look(server).items()
    assert told[0] == "server" and told[1][0] == "wrong" and "PREFECT_API_AUTH_STRING" in told[1][1]
    found = look(server, PREFECT_API_AUTH_STRING="mmpipe:right")
    assert found["access"][0] == "weak" and "forged requests" in found["access"][1]
    server.csrf = True
    found = look(server, PREFECT_API_AUTH_STRING="mmpipe:right")
    assert found["access"] == ("ok", "password and CSRF token") and found["pools"][0] == "ok"
    assert not any("right" in detail for _, detail in found.values())


def test_beyond_loopback_a_server_without_a_password_is_wrong(server: FakePrefect) -> None:
    open_site = Site(api=f"{server.address}/api", is_named=True, host="0.0.0.0")
    door = HttpDoor(open_site)
    rows = {row.check: row for row in examine_site(open_site, door, door, ZONE)}
    assert rows["access"].state == "wrong" and "--shared" in rows["access"].detail
    server.auth, server.csrf = "mmpipe:right", True
    shared = Site(api=f"{server.address}/api", auth=server.auth, is_named=True, host="0.0.0.0")
    rows = {row.check: row for row in examine_site(shared, HttpDoor(shared), HttpDoor(open_site), ZONE)}
    assert rows["access"].state == "weak" and "TLS" in rows["access"].detail


def test_another_version_than_here_is_weak(server: FakePrefect) -> None:
    server.version = "3.9.1"
    assert look(server)["server"][0] == "weak"


def test_something_that_is_no_prefect_server(server: FakePrefect) -> None:
    server.answer = lambda *_: (404, None)
    assert look(server)["server"][0] == "wrong" and "no Prefect server" in look(server)["server"][1]


def test_without_a_server_the_rows_say_so() -> None:
    rows = list(examine_server(ZONE, {}))
    assert {(row.state, row.detail) for row in rows} == {("ok", NO_SERVER)} and len(rows) == 7


def test_a_server_that_is_gone_is_wrong_where_it_was_named(tmp_path: Path) -> None:
    with served(FakePrefect()) as gone:
        pass
    state, detail = look(gone)["server"]
    assert state == "wrong" and "does not answer" in detail
    write_note(tmp_path, port=int(gone.address.rpartition(":")[2]))
    (row,) = examine_server(ZONE, {"PREFECT_HOME": str(tmp_path)})
    assert row.state == "weak" and "./run up" in row.detail, "it was ended, perhaps on purpose"


def write_note(home: Path, port: int, pid: int = 1, host: str = "127.0.0.1") -> None:
    """Write what `up` writes down of its server."""
    (home / "services").mkdir(exist_ok=True)
    command = ["python", "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    (home / "services" / "server.json").write_text(json.dumps({"pid": pid, "port": port, "command": command}))


def test_what_up_wrote_down_is_found_with_its_password(tmp_path: Path) -> None:
    write_note(tmp_path, 4711, host="0.0.0.0")
    (tmp_path / "server.password").write_text("very-secret\n")
    site = find_site({"PREFECT_HOME": str(tmp_path)})
    assert site == Site(api="http://127.0.0.1:4711/api", auth="mmpipe:very-secret", host="0.0.0.0", pid=1)
    other = find_site({"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": "http://elsewhere:4200/api"})
    assert other == Site(api="http://elsewhere:4200/api", is_named=True), "a stranger gets no password of ours"
    (tmp_path / "services" / "server.json").write_text("[half")
    assert find_site({"PREFECT_HOME": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("url", "state", "kind"),
    [("", "weak", "SQLite"), ("postgresql+asyncpg://u:canary@h/prefect", "ok", "PostgreSQL")],
)
def test_the_process_tells_the_database(server: FakePrefect, tmp_path: Path, url: str, state: str, kind: str) -> None:
    variables = {**os.environ, "PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
    line = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(line, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdin and child.stdout.readline()
        write_note(tmp_path, int(server.address.rpartition(":")[2]), child.pid)
        rows = {row.check: row for row in examine_server(ZONE, {"PREFECT_HOME": str(tmp_path)})}
        child.stdin.close()
    assert rows["database"].state == state and rows["database"].detail.startswith(kind)
    assert "canary" not in str(rows)


@pytest.mark.parametrize(("skew_s", "state"), [(0, "ok"), (-4, "ok"), (9, "weak"), (-300, "wrong")])
def test_the_clock_is_compared_with_the_servers(skew_s: int, state: str) -> None:
    date = "Sun, 22 Nov 2026 20:54:26 GMT"
    now = datetime(2026, 11, 22, 20, 54, 26, tzinfo=UTC) + timedelta(seconds=skew_s)
    assert clock_row(date, now).state == state
    assert clock_row(Answer(status=200).date, now).state == "weak"


def test_the_bounds_are_those_that_are_installed_by() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["optional-dependencies"]["pipeline"]]
    for bound in BOUNDS:
        (requirement,) = [one for one in wanted if one.name.lower() == bound.package and not one.extras]
        first, end = (".".join(map(str, numbers)) for numbers in (bound.first, bound.end))
        assert str(requirement.specifier) == f"<{end},>={first}", bound.package


def test_versions_that_break_without_a_word_are_wrong() -> None:
    assert check_packages()[1] == "ok"
    newer = Bounds(package="sqlalchemy", first=(1,), end=(1, 5), otherwise="no scheduled run is ever made")
    _, state, detail = check_packages((newer,))
    assert state == "wrong" and "no scheduled run is ever made" in detail and "constraints.txt" in detail
    absent = Bounds(package="no-such-package-here", first=(1,), end=(2,), otherwise="")
    assert check_packages((absent,))[1] == "weak"


def test_zone_and_room(tmp_path: Path) -> None:
    assert check_zone(ZONE)[1] == "ok"
    assert check_zone("Europe/Berlino")[1] == "wrong" and "tzdata" in check_zone("Europe/Berlino")[2]
    (tmp_path / "prefect.db").write_bytes(b"x" * (1 << 20))
    _, _, detail = check_prefect_home({"PREFECT_HOME": str(tmp_path)})
    assert "1 database of 1 MiB" in detail
    assert check_prefect_home({"PREFECT_HOME": str(tmp_path / "not" / "yet")})[1] in ("ok", "weak")
