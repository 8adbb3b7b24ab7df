"""What goes around every request: its id, its key, its time in the metrics, and headers that every answer has."""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

from mmpipe.serve.meters import Meters
from mmpipe.serve.problems import MEDIA_TYPE, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
REQUEST_ID = "request_id"  # in the scope's state
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_OTHER = "other"
_HOST = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<name>[^:\[\]]+))(?::[0-9]*)?")
_GONE = 499  # as nginx counts those who went away


class Envelope:
    """Wraps the application."""

    def __init__(self, app: App, meters: Meters, routes: frozenset[str]) -> None:
        """Count what goes to `routes` by name, and all else together: nobody fills the metrics with paths."""
        self._app, self._meters, self._routes = app, meters, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope)
        scope.setdefault("state", {})[REQUEST_ID] = request_id
        route = scope["path"] if scope["path"] in self._routes else _OTHER
        began_s, status = time.monotonic(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = _GONE  # nobody is there to be told
        finally:
            self._meters.requests.labels(route, str(status)).inc()
            self._meters.seconds.labels(route).observe(time.monotonic() - began_s)


def _id_of(scope: Scope) -> str:
    """Return the id that the sender gave, where it is harmless, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return str(value.decode())
    return uuid.uuid4().hex


class KeyGate:
    """Lets only those through who know the key."""

    def __init__(self, app: App, api_key: str, open_paths: frozenset[str]) -> None:
        """Ask for the key everywhere but on `open_paths`."""
        self._app, self._key, self._open_paths = app, api_key.encode(), open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in self._open_paths or self._knows(dict(scope["headers"])):
            await self._app(scope, receive, send)
            return
        headers = {"www-authenticate": "Bearer"}
        problem = Problem(status=401, code="api_key", detail="no valid API key", headers=headers)
        await _refuse(problem, scope, send)

    def _knows(self, headers: dict[bytes, bytes]) -> bool:
        """Say whether a key is shown, and every one that is shown is right."""
        shown = [headers[b"x-api-key"]] if b"x-api-key" in headers else []
        if b"authorization" in headers:
            scheme, _, said = headers[b"authorization"].partition(b" ")
            shown.append(said.strip() if scheme.lower() == b"bearer" else b"")
        right = [hmac.compare_digest(key, self._key) for key in shown]
        return bool(right) and all(right)


class LocalGate:
    """Lets only this machine's own programs through, where no key is asked for: a browser also asks for its pages.

    A page whose name is made to point here (DNS rebinding) shows in the Host; one that sends a form across sites, which
    browsers do unasked, in Sec-Fetch-Site.
    """

    def __init__(self, app: App) -> None:
        """Stand before an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and not _is_loopback(headers.get(b"host", b"").decode("latin-1")):
            detail = "the Host is no name of this machine for itself"
            await _refuse(Problem(status=421, code="other_host", detail=detail), scope, send)
        elif scope["type"] == "http" and headers.get(b"sec-fetch-site") == b"cross-site":
            detail = "a page of another site asks"
            await _refuse(Problem(status=403, code="cross_site", detail=detail), scope, send)
        else:
            await self._app(scope, receive, send)


def _is_loopback(host: str) -> bool:
    """Say whether a Host header, with or without its port, means this machine alone."""
    found = _HOST.fullmatch(host.lower())
    if not found:
        return False
    name = found["six"] or found["name"]
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _refuse(problem: Problem, scope: Scope, send: Send) -> None:
    body = json.dumps(problem.as_json(scope["path"], scope["state"][REQUEST_ID])).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
