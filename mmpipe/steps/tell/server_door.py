"""The door to a Prefect server for those who only look: where it is, and what its API answers."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

ANSWER_S = 15.0
API_URL = "PREFECT_API_URL"
_CLIENT = "mmpipe-doctor"
_USER = "mmpipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a server is, as far as this machine knows."""

    api: str  # with /api at its end
    auth: str = ""  # user:password; ""
    is_named: bool = False  # in the environment, and not only what `up` wrote down once
    host: str = ""  # that it listens at; "" where it was not started here
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered."""

    status: int
    body: Any = None
    date: str = ""  # the header


class ServerDoor(Protocol):
    """Something that answers as a Prefect server's API does."""

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Return the answer to GET, or to POST where there is a body; OSError where nobody answers."""


class HttpDoor:
    """A server over HTTP, with its password and its token against forged requests where it asks for them."""

    def __init__(self, site: Site) -> None:
        """Open nothing yet."""
        self.site = site
        self._headers = {"content-type": "application/json"}
        if site.auth:
            self._headers["authorization"] = "Basic " + base64.b64encode(site.auth.encode()).decode()

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Return the answer to GET, or to POST where there is a body; OSError where nobody answers."""
        if body is not None and "prefect-csrf-token" not in self._headers:
            token = self._send(f"/csrf-token?client={_CLIENT}", None)
            if token.status == 200:
                self._headers |= {"prefect-csrf-client": _CLIENT, "prefect-csrf-token": token.body["token"]}
        return self._send(path, body)

    def _send(self, path: str, body: Mapping[str, Any] | None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.site.api + path, data, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                return Answer(status=answer.status, body=_json(answer.read()), date=answer.headers["date"] or "")
        except urllib.error.HTTPError as error:
            return Answer(status=error.code, date=error.headers["date"] or "")


def find_site(environment: Mapping[str, str]) -> Site | None:
    """Return the server that the environment names, else the one that `up` wrote down; None where there is neither."""
    home = Path(environment["PREFECT_HOME"]) if environment.get("PREFECT_HOME") else None
    note = _note(home / "services" / "server.json") if home else {}
    named = environment.get(API_URL, "").rstrip("/")
    command = note.get("command") or ()
    host = command[command.index("--host") + 1] if "--host" in command else "127.0.0.1"
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    written = f"http://{reached}:{note['port']}/api" if note.get("port") else ""
    if not (named or written):
        return None
    is_ours = bool(written) and named in ("", written)
    return Site(
        api=named or written,
        auth=environment.get("PREFECT_API_AUTH_STRING") or (_password(home) if home and is_ours else ""),
        is_named=bool(named),
        host=host if is_ours else "",
        pid=int(note["pid"]) if is_ours else 0,
    )


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment of a process of ours; nothing where it is gone or a stranger's."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _note(path: Path) -> dict[str, Any]:
    """Return what `up` wrote down about its server."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("pid") else {}


def _password(home: Path) -> str:
    try:
        return f"{_USER}:{(home / 'server.password').read_text().strip()}"
    except OSError:
        return ""


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None  # a page of something that is no Prefect server
