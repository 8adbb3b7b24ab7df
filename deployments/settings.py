"""The environment that the services are started with, and which of its secrets each of them does without."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployments.binding import Access, origin_of
from deployments.credentials import AUTH, CLIENT_AUTH, DATABASE, NOTIFY
from deployments.services import ROOT

# Names of a caller's own login to another server: they would win over what is set here, and be refused.
_OF_ANOTHER_SERVER = ("PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_API_URL", CLIENT_AUTH, AUTH)
HEARTBEAT_S = 30  # the shortest that Prefect has: a run that is silent for three of them is taken for dead
# The server's own parts speak to it from within.
WITHOUT = {
    "keeper": (NOTIFY,),
    "postgres": (AUTH, CLIENT_AUTH, DATABASE, NOTIFY),
    "server": ("PREFECT_API_URL", CLIENT_AUTH, NOTIFY),
    "worker": (AUTH, DATABASE, NOTIFY, "MMPIPE_TIMEZONE"),
    "recover": (AUTH, DATABASE, NOTIFY, "MMPIPE_TIMEZONE"),
    "desk": (CLIENT_AUTH, DATABASE, NOTIFY, "MMPIPE_TIMEZONE"),
}


def base_environment(config: Path, zone: str, home: Path, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what everything that `up` starts has in common."""
    kept = {name: value for name, value in inherited.items() if name not in _OF_ANOTHER_SERVER}
    return {
        **kept,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        # In memory, as is usual, a restart of the server loses who holds a slot: the run in progress is then ended.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # What the library says belongs into the log of the run that it works for.
        "PREFECT_LOGGING_EXTRA_LOGGERS": kept.get("PREFECT_LOGGING_EXTRA_LOGGERS") or "mmpipe",
        # Threads of the library that belong to no run speak too: no reason for a warning each time.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "DO_NOT_TRACK": "1",
        "MMPIPE_HOME": str(ROOT),
        "MMPIPE_CONFIG": str(config),
        "MMPIPE_TIMEZONE": zone,
    }


def server_environment(access: Access, port: int, auth: str, database: str) -> dict[str, str]:
    """Return what the server needs to know of who may come, and of where it keeps its data."""
    origin = origin_of(access, port)
    known = {
        # Only its own UI may call it from a browser: by default any open web page could.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        "PREFECT_SERVER_UI_API_URL": f"{origin}/api",
        # Its second UI asks a company for its settings from every browser, analytics or not; the first asks nobody.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    if database:
        known[DATABASE] = database
    if auth:
        known |= {AUTH: auth, "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true"}
    return known


def client_environment(address: str, auth: str = "") -> dict[str, str]:
    """Return what a client needs to reach the server."""
    return {"PREFECT_API_URL": f"{address}/api"} | ({CLIENT_AUTH: auth} if auth else {})


def run_environment(heavy_pool: str, desk: str) -> dict[str, str]:
    """Return what flow runs are told of the place: where the heavy ones go, and where pages can be opened."""
    return {"MMPIPE_HEAVY_POOL": heavy_pool, "MMPIPE_DESK_URL": desk}


def decision_digest(command: Sequence[str], environment: Mapping[str, str], names: Sequence[str]) -> str:
    """Return the digest of what was decided for a service; secrets are not in it, only whether there is one."""
    secret = (AUTH, CLIENT_AUTH, DATABASE, NOTIFY)
    told = {name: bool(environment.get(name)) if name in secret else environment.get(name, "") for name in names}
    return hashlib.sha256(json.dumps([list(command), told]).encode()).hexdigest()[:16]
