"""Check a Prefect server: that it answers, whom it lets in, who works for it, and that its schedules are alive."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mmpipe.steps.tell.server_door import API_URL, HttpDoor, ServerDoor, Site, environment_of, find_site
from mmpipe.words import counted

DATABASE_URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
TAG = "mmpipe"  # of every deployment of ours
NO_SERVER = "no server: ./run up starts one; until then nothing runs by itself"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SKEW_WEAK_S, _SKEW_WRONG_S = 5.0, 60.0
_PLANNED_WITHIN_S = 180.0  # the scheduler looks once a minute
SHIPPED = "mmpipe-shipped"  # the tag of automations of ours
_CHECKS = ("server", "database", "access", "pools", "schedules", "automations", "clock")
_PAGE = 200


class Row(NamedTuple):
    """What one check found: ok, weak, or wrong with the way out."""

    check: str
    state: str
    detail: str


class Schedule(NamedTuple):
    """A deployment that is to run by itself, and whether it will."""

    name: str
    zone: str
    is_planned: bool
    is_new: bool  # the scheduler has not had its turn yet


def examine_server(timezone: str, environment: Mapping[str, str] = os.environ) -> Iterator[Row]:
    """Yield one row per check of the server that this machine knows of."""
    site = find_site(environment)
    if site is None:
        yield from (Row(check, "ok", NO_SERVER) for check in _CHECKS)
        return
    yield from examine_site(site, HttpDoor(site), HttpDoor(Site(api=site.api)), timezone)


def examine_site(site: Site, door: ServerDoor, stranger: ServerDoor, timezone: str) -> Iterator[Row]:
    """Yield one row per check; `stranger` asks without the password."""
    try:
        told = door.ask("/admin/version")
        if told.status != 200 or not isinstance(told.body, str):
            yield _refused(site, told.status)
            return
        yield _server(site, told.body)
        yield _database(site)
        yield _access(site, door, stranger)
        deployments = _deployments(door)
        yield _pools(door, deployments)
        yield _schedules(list(_read_schedules(door, deployments, datetime.now(UTC))), timezone)
        yield _automations(door)
        yield clock_row(told.date, datetime.now(UTC))
    except OSError as error:
        if site.is_named:
            yield Row("server", "wrong", f"{site.api} ({API_URL}) does not answer: {error}")
        else:
            yield Row("server", "weak", f"{site.api}, which was started here, does not answer: {error}; ./run up")


def clock_row(date: str, now: datetime) -> Row:
    """Compare our clock with the header of an answer: what is scheduled there begins by that clock."""
    try:
        skew_s = (now - parsedate_to_datetime(date)).total_seconds()
    except ValueError:
        return Row("clock", "weak", "the server tells no time")
    state = "wrong" if abs(skew_s) > _SKEW_WRONG_S else "weak" if abs(skew_s) > _SKEW_WEAK_S else "ok"
    way_out = "" if state == "ok" else "; let both machines follow one time server (NTP)"
    return Row("clock", state, f"{skew_s:+.0f} s from the server's{way_out}")


def _refused(site: Site, status: int) -> Row:
    if status == 401:
        way = "set PREFECT_API_AUTH_STRING=user:password to what the server was started with"
        return Row("server", "wrong", f"{site.api} asks for a password: {way}")
    return Row("server", "wrong", f"{site.api} is no Prefect server: it answers {status}; look at {API_URL}")


def _server(site: Site, theirs: str) -> Row:
    try:
        ours = version("prefect")
    except PackageNotFoundError:
        ours = ""
    if ours and ours != theirs:
        return Row("server", "weak", f"{site.api}: Prefect {theirs}, here is {ours}; run one version")
    return Row("server", "ok", f"{site.api}: Prefect {theirs}")


def _database(site: Site) -> Row:
    """Say what keeps the runs. The API hides it: the process tells, where it is ours."""
    environment = environment_of(site.pid) if site.pid else {}
    if not environment:
        return Row("database", "ok", "not known: the API does not tell, and the server was not started here")
    kind = urlsplit(environment.get(DATABASE_URL, "")).scheme.partition("+")[0]
    if kind.startswith("postgres"):
        return Row("database", "ok", "PostgreSQL")
    return Row("database", "weak", "SQLite: for one person; under load it answers 503. ./run up --postgres for a team")


def _access(site: Site, door: ServerDoor, stranger: ServerDoor) -> Row:
    """Say who may come in. Without a password every process here, and every machine that reaches it, runs code."""
    host = site.host or urlsplit(site.api).hostname or ""
    is_open = stranger.ask("/admin/version").status == 200
    if is_open:
        if host in _LOOPBACK:
            return Row("access", "ok", "no password; it listens on this machine alone")
        return Row("access", "wrong", f"no password, and it is reached at {host}: ./run up --shared sets both")
    has_token = HttpDoor(site).ask(f"/csrf-token?client={TAG}").status == 200
    if not has_token:
        return Row(
            "access", "weak", "a password, but forged requests pass: PREFECT_SERVER_CSRF_PROTECTION_ENABLED=true"
        )
    plain = site.api.startswith("http://") and host not in _LOOPBACK
    if plain:
        return Row("access", "weak", "password and CSRF token, but over plain HTTP: put it behind a proxy with TLS")
    return Row("access", "ok", "password and CSRF token")


def _deployments(door: ServerDoor) -> list[dict[str, Any]]:
    """Return the deployments of ours; the server gives them in pages."""
    rows: list[dict[str, Any]] = []
    while page := door.ask("/deployments/filter", {"limit": _PAGE, "offset": len(rows)}).body:
        rows.extend(page)
    return [row for row in rows if TAG in row["tags"]]


def _pools(door: ServerDoor, deployments: list[dict[str, Any]]) -> Row:
    """Say which pool of ours has nobody who works."""
    names = sorted({row["work_pool_name"] for row in deployments if row["work_pool_name"]})
    if not names:
        return Row("pools", "wrong", "no deployment of mmpipe is known to the server: ./run up")
    faults, found = [], []
    for name in names:
        pool = door.ask(f"/work_pools/{name}").body
        workers = door.ask(f"/work_pools/{name}/workers/filter", {}).body or []
        num_online = sum(worker["status"] == "ONLINE" for worker in workers)
        if pool is None:
            faults.append(f"{name} is not there")
        elif pool["is_paused"]:
            faults.append(f"{name} is paused")
        elif not num_online:
            faults.append(f"{name} has no worker online: what is planned there waits")
        found.append(f"{name}: {counted(num_online, 'worker')} online")
    if faults:
        return Row("pools", "wrong", f"{'; '.join(faults)}. ./run up brings them up")
    return Row("pools", "ok", ", ".join(found))


def _read_schedules(door: ServerDoor, deployments: list[dict[str, Any]], now: datetime) -> Iterator[Schedule]:
    for row in deployments:
        for schedule in row["schedules"]:
            if schedule["active"] and not row["paused"]:
                wish = {
                    "deployments": {"id": {"any_": [row["id"]]}},
                    "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}, "tags": {"all_": ["auto-scheduled"]}},
                    "limit": 1,
                }
                changed = datetime.fromisoformat(schedule["updated"] or row["updated"])
                yield Schedule(
                    name=row["name"],
                    zone=schedule["schedule"].get("timezone") or "UTC",
                    is_planned=bool(door.ask("/flow_runs/filter", wish).body),
                    is_new=(now - changed).total_seconds() < _PLANNED_WITHIN_S,
                )


def _schedules(schedules: list[Schedule], timezone: str) -> Row:
    """Say which schedule makes no runs: the server looks well while its scheduler is dead."""
    dead = [schedule.name for schedule in schedules if not schedule.is_planned and not schedule.is_new]
    if dead:
        why = (
            "the server's log says why. SQLAlchemy 2.1 is one cause (`Can't evaluate bulk DML statement`): install "
            "what constraints.txt pins, and start the server again"
        )
        return Row("schedules", "wrong", f"no run is planned of {', '.join(dead)}; {why}")
    elsewhere = sorted({f"{schedule.name} ({schedule.zone})" for schedule in schedules if schedule.zone != timezone})
    if elsewhere and timezone:
        way = f"the config says {timezone}: ./run up deploys them again"
        return Row("schedules", "wrong", f"in another time zone: {', '.join(elsewhere)}; {way}")
    if not schedules:
        return Row("schedules", "weak", "no deployment of mmpipe has a schedule that is switched on")
    waiting = ", ".join(schedule.name for schedule in schedules if not schedule.is_planned)
    if waiting:
        return Row("schedules", "weak", f"no run is planned yet of {waiting}; look again in three minutes")
    return Row("schedules", "ok", f"runs are planned of {', '.join(schedule.name for schedule in schedules)}")


def _automations(door: ServerDoor) -> Row:
    """Say whether dead runs are found, and somebody is told of what fails."""
    rows = door.ask("/automations/filter", {"limit": _PAGE}).body or []
    ours = [row for row in rows if SHIPPED in row["tags"]]
    if not ours:
        return Row("automations", "wrong", "none of mmpipe: a run whose process is gone is Running for ever; ./run up")
    if paused := [row["name"] for row in ours if not row["enabled"]]:
        return Row("automations", "weak", f"switched off: {', '.join(sorted(paused))}")
    if not any(action["type"] == "send-notification" for row in ours for action in row["actions"]):
        return Row("automations", "weak", "nobody is told of what fails: MMPIPE_NOTIFY_URL=https://... ./run up")
    return Row("automations", "ok", f"{len(ours)} switched on; notices are sent")
