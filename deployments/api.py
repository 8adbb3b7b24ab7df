"""The door to the server's REST API: who may pass, and patience with a busy server."""

from __future__ import annotations

import base64
import json
import random
import time
import urllib.error
import urllib.request
import uuid
from typing import Any, Protocol

from mmpipe.errors import ConfigError, MmpipeError, TransientError

_ANSWER_S = 60.0
_TRIES = 6
_BUSY = (429, 502, 503)  # SQLite answers so in bursts


class Api(Protocol):
    """What is asked of a server: a path below /api, and a body where one is sent."""

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return what the server answers; none where there is nothing at the path."""
        ...


class ServerApi:
    """A real server."""

    def __init__(self, address: str, auth: str = "") -> None:
        self._address = address
        self._headers = {"content-type": "application/json"}
        if auth:
            self._headers["authorization"] = "Basic " + base64.b64encode(auth.encode()).decode()
        self._has_token = not auth  # only a server with a password asks for a token before it changes anything

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return what the server answers; none where there is nothing at the path."""
        if method != "GET" and not self._has_token:
            self._take_token()
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._address}/api{path}", data, self._headers, method=method)
        for attempt in range(_TRIES):
            try:
                with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
                    text = answer.read()
                    return json.loads(text) if text else {}
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 404:
                        return None
                    if error.code not in _BUSY:
                        raise _refusal(error, f"{method} {path}") from error
            except OSError:
                pass  # it is being started again, or is busy: worth another try
            time.sleep(2**attempt * random.uniform(0.25, 0.5))
        raise TransientError(f"the server at {self._address} does not answer {method} {path}; try again in a minute")

    def _take_token(self) -> None:
        """Take the token that a server with protection against forged requests asks for."""
        client = uuid.uuid4().hex
        self._has_token = True
        found = self.ask("GET", f"/csrf-token?client={client}")
        self._headers |= {"prefect-csrf-client": client, "prefect-csrf-token": found["token"]} if found else {}


def is_healthy(address: str) -> bool:
    """Say whether the server answers."""
    try:
        with urllib.request.urlopen(f"{address}/api/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _refusal(error: urllib.error.HTTPError, what: str) -> MmpipeError:
    if error.code == 401:
        return ConfigError(
            f"the server refuses the password ({what}: 401). It runs with another one: "
            "give that in PREFECT_SERVER_API_AUTH_STRING, or ./run down and up again"
        )
    return MmpipeError(f"the server refuses {what}: {error.code} {error.read()[:500].decode(errors='replace')}")
