"""The door to the server: a password and a token where they are asked for, patience with a busy one."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deployments.api import ServerApi, is_healthy
from mmpipe.errors import ConfigError, MmpipeError

AUTH = "mmpipe:word"


class MadeServer(ThreadingHTTPServer):
    """Answers as a Prefect server does: with a password it wants a token before it changes anything."""

    daemon_threads = True

    def __init__(self, auth: str = "", busy: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.wanted = "Basic " + base64.b64encode(auth.encode()).decode() if auth else ""
        self.busy = busy  # so many answers are 503
        self.token = ""
        self.tokens = 0
        self.bodies: list[object] = []

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: MadeServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status, answer = self._decide(body)
        text = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _decide(self, body: bytes) -> tuple[int, object]:
        made = self.server
        if self.path == "/api/health":
            return 200, True
        if made.busy:
            made.busy -= 1
            return 503, {"exception_message": "Service Unavailable"}
        if made.wanted and self.headers.get("authorization") != made.wanted:
            return 401, {"exception_message": "Unauthorized"}
        if self.path.startswith("/api/csrf-token?client="):
            made.token, made.tokens = f"for-{self.path.partition('=')[2]}", made.tokens + 1
            return 200, {"token": made.token}
        if self.path == "/api/nothing":
            return 404, {"detail": "Not Found"}
        if made.wanted and self.command != "GET":
            given = (self.headers.get("prefect-csrf-token"), f"for-{self.headers.get('prefect-csrf-client')}")
            if set(given) != {made.token}:
                return 403, {"detail": "Missing CSRF token."}
        if self.path == "/api/wrong":
            return 422, {"exception_message": "Invalid request received."}
        made.bodies.append(json.loads(body) if body else None)
        return (204, None) if self.command == "PATCH" else (200, {"path": self.path})

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    do_GET = do_POST = do_PATCH = do_DELETE = _answer


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Iterator[MadeServer]:
    """A server with what the test asks for."""
    with MadeServer(**getattr(request, "param", {})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_open_server_is_asked_straight(made: MadeServer) -> None:
    api = ServerApi(made.address)
    assert api.ask("POST", "/things", {"a": 1}) == {"path": "/api/things"}
    assert api.ask("PATCH", "/things", {"a": 2}) == {}
    assert api.ask("GET", "/nothing") is None
    assert (made.bodies, made.tokens) == ([{"a": 1}, {"a": 2}], 0)
    assert is_healthy(made.address)


@pytest.mark.parametrize("made", [{"auth": AUTH}], indirect=True)
def test_a_shared_server_gets_the_password_and_one_token(made: MadeServer) -> None:
    api = ServerApi(made.address, AUTH)
    assert api.ask("GET", "/things") == {"path": "/api/things"}
    assert made.tokens == 0
    for _ in range(2):
        assert api.ask("POST", "/things", {"a": 1}) == {"path": "/api/things"}
    assert made.tokens == 1


@pytest.mark.parametrize("made", [{"auth": AUTH}], indirect=True)
def test_a_wrong_password_says_the_way_out_and_not_the_password(made: MadeServer) -> None:
    with pytest.raises(ConfigError, match=r"\./run down") as refusal:
        ServerApi(made.address, "mmpipe:canary").ask("GET", "/things")
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize("made", [{"busy": 1}], indirect=True)
def test_a_busy_server_is_asked_again(made: MadeServer) -> None:
    assert ServerApi(made.address).ask("GET", "/things") == {"path": "/api/things"}


def test_a_refusal_is_not_asked_again(made: MadeServer) -> None:
    with pytest.raises(MmpipeError, match=r"POST /wrong: 422 .*Invalid request"):
        ServerApi(made.address).ask("POST", "/wrong", {})


def test_nobody_there_is_not_healthy(made: MadeServer) -> None:
    address = made.address
    made.server_close()
    assert not is_healthy(address)
