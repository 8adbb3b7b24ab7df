"""A small real HTTP server that answers the doctor as Prefect 3.8.8 was seen to, and how it can be ill."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = {"token": "86f904b0", "client": "x", "expiration": "2026-11-22T21:54:28.737578Z"}


CRASHES, TELLS = "change-flow-run-state", "send-notification"


def automation(name: str, action: str = CRASHES, tag: str = "mmpipe-shipped", enabled: bool = True) -> dict[str, Any]:
    """Return an automation as the server describes it."""
    return {"name": name, "tags": [tag], "enabled": enabled, "actions": [{"type": action}]}


@dataclass
class FakePrefect:
    """What it answers from."""

    address: str = ""
    auth: str = ""
    csrf: bool = False
    version: str = "3.8.8"
    online: dict[str, list[str]] = field(default_factory=lambda: {"cpu": ["ONLINE", "OFFLINE"]})
    paused: set[str] = field(default_factory=set)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    planned: set[str] = field(default_factory=set)  # ids of deployments with a run of their schedule
    skew: timedelta = timedelta(0)
    automations: list[dict[str, Any]] = field(default_factory=lambda: [automation("dead"), automation("tell", TELLS)])

    def deploy(self, name: str, zone: str = "", age: timedelta = timedelta(days=2), **other: Any) -> None:
        """Add a deployment as the server describes it: with a schedule where it has a zone."""
        at = (datetime.now(UTC) - age).isoformat()
        schedule = {"cron": "0 2 * * *", "timezone": zone, "day_or": True}
        schedules = [{"id": f"s-{name}", "active": True, "updated": at, "schedule": schedule}] if zone else []
        row = {"id": f"d-{name}", "name": name, "paused": False, "tags": ["mmpipe"], "work_pool_name": "cpu"}
        self.deployments.append(row | {"updated": at, "schedules": schedules} | other)

    def answer(self, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        """Return status and body."""
        wanted = "Basic " + base64.b64encode(self.auth.encode()).decode()
        if self.auth and headers.get("authorization") != wanted:
            return 401, {"exception_message": "Unauthorized"}
        if body is not None and self.csrf and headers.get("prefect-csrf-token") != TOKEN["token"]:
            return 403, {"detail": "Missing CSRF token."}
        _, _, *parts = path.partition("?")[0].split("/")
        match parts:
            case ["admin", "version"]:
                return 200, self.version
            case ["csrf-token"]:
                return (200, TOKEN) if self.csrf else (422, {"detail": "CSRF protection is disabled."})
            case ["deployments", "filter"]:
                return 200, self.deployments[body["offset"] :][:2]
            case ["automations", "filter"]:
                return 200, self.automations
            case ["work_pools", name, "workers", "filter"]:
                return 200, [{"name": f"w{number}", "status": word} for number, word in enumerate(self.online[name])]
            case ["work_pools", name] if name in self.online:
                return 200, {"name": name, "is_paused": name in self.paused, "status": "READY"}
            case ["flow_runs", "filter"]:
                (number,) = body["deployments"]["id"]["any_"]
                return 200, [{"auto_scheduled": True}] if number in self.planned else []
        return 404, {"detail": "Not Found"}


@contextmanager
def served(fake: FakePrefect) -> Iterator[FakePrefect]:
    """Serve it at a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _reply(self, body: Any) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, told = fake.answer(self.path, headers, body)
            self.send_response_only(status)
            self.send_header("date", format_datetime(datetime.now(UTC) + fake.skew, usegmt=True))
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
