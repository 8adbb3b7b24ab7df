"""The desk: a small service that shows the reports of a store and its metrics. It only reads, and only those."""

from __future__ import annotations

import argparse
import base64
import hmac
import html
import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from deployments.binding import LOOPBACK, is_loopback
from deployments.credentials import AUTH
from mmpipe.config import CONFIG_NAME, load_config
from mmpipe.errors import ConfigError, MmpipeError
from mmpipe.steps.tell.metrics import render_metrics
from mmpipe.steps.tell.pages import pages_folder

REPORTS = "/reports/"
# One name, no folder: nothing that begins with a dot, nothing of another kind.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,254}")
_KINDS = {".html": "text/html; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png"}
_METRICS_KIND = "text/plain; version=0.0.4; charset=utf-8"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent back."""

    status: HTTPStatus
    body: bytes
    kind: str = "text/plain; charset=utf-8"


class Desk:
    """What there is to see; asked anew each time, so that a new config or store shows at once."""

    def __init__(self, pages: Callable[[], Path], metrics: Callable[[], str]) -> None:
        self._pages = pages
        self._metrics = metrics

    def answer(self, target: str) -> Answer:
        """Return what is at an address; an error of ours is told, without its inside."""
        path = unquote(urlsplit(target).path)
        try:
            if path == "/metrics":
                return Answer(status=HTTPStatus.OK, body=self._metrics().encode(), kind=_METRICS_KIND)
            if path in ("/", REPORTS):
                body = _index(page_names(self._pages())).encode()
                return Answer(status=HTTPStatus.OK, body=body, kind=_KINDS[".html"])
            if path.startswith(REPORTS):
                return self._page(path.removeprefix(REPORTS))
        except MmpipeError as error:
            return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body=f"{error}\n".encode())
        return _NOT_HERE

    def _page(self, name: str) -> Answer:
        found = read_page(self._pages(), name)
        if found is None:
            return _NOT_HERE
        return Answer(status=HTTPStatus.OK, body=found, kind=_KINDS[Path(name).suffix])


_NOT_HERE = Answer(status=HTTPStatus.NOT_FOUND, body=b"There is no such page. All there are: /\n")


def page_names(folder: Path) -> tuple[str, ...]:
    """Return the pages of a folder, newest name first."""
    names = os.listdir(folder) if folder.is_dir() else []
    return tuple(sorted((name for name in names if is_page_name(name)), reverse=True))


def is_page_name(name: str) -> bool:
    """Say whether a name can be that of a page: a plain one, of a kind that is shown."""
    return bool(_NAME.fullmatch(name)) and Path(name).suffix in _KINDS


def read_page(folder: Path, name: str) -> bytes | None:
    """Return the bytes of a page; none where it is none, also where a link of that name leads elsewhere."""
    if not is_page_name(name):
        return None
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


class _SixServer(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def make_server(desk: Desk, host: str, port: int, auth: str = "") -> ThreadingHTTPServer:
    """Return a server that answers for a desk, to who has the password where there is one."""
    if not auth and not is_loopback(host):
        raise ConfigError(f"the desk does not listen at {host} without a password: set {AUTH}, or ./run up --shared")
    wanted = "Basic " + base64.b64encode(auth.encode()).decode() if auth else ""

    class Handler(BaseHTTPRequestHandler):
        """Answers GET and HEAD, and nothing else."""

        server_version = "mmpipe-desk"
        sys_version = ""
        timeout = 30

        def do_GET(self) -> None:
            self._send(with_body=True)

        def do_HEAD(self) -> None:
            self._send(with_body=False)

        def _send(self, with_body: bool) -> None:
            answer = self._refusal() or desk.answer(self.path)
            self.send_response(answer.status)
            if answer.status is HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", 'Basic realm="mmpipe"')
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self.wfile.write(answer.body)

        def _refusal(self) -> Answer | None:
            given = self.headers.get("Authorization", "")
            if wanted and not hmac.compare_digest(given.encode(), wanted.encode()):
                return Answer(status=HTTPStatus.UNAUTHORIZED, body=b"The password of the server opens this.\n")
            # A page of the web whose name was pointed at this machine would come with its own name.
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
            if not wanted and not is_loopback(name) and name != host:
                return Answer(status=HTTPStatus.MISDIRECTED_REQUEST, body=b"Not the name of this desk.\n")
            return None

    server = (_SixServer if ":" in host else ThreadingHTTPServer)((host, port), Handler)
    server.daemon_threads = True
    return server


def main(arguments: list[str] | None = None) -> int:
    """Serve until somebody ends us."""
    parser = argparse.ArgumentParser(prog="python -m deployments.desk", description=__doc__)
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    config = Path(os.environ.get("MMPIPE_CONFIG") or CONFIG_NAME)
    desk = Desk(
        pages=lambda: pages_folder(load_config(config)),
        metrics=lambda: render_metrics(load_config(config)),
    )
    try:
        server = make_server(desk, options.host, options.port, os.environ.get(AUTH, ""))
    except MmpipeError as error:
        print(f"desk: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    with server:
        server.serve_forever()
    return 0


def _index(names: tuple[str, ...]) -> str:
    items = "\n".join(_items(names)) or "<li>No report yet: the first night writes one.</li>"
    return f"<!doctype html><meta charset=utf-8><title>mmpipe reports</title><h1>Reports</h1>\n<ul>\n{items}\n</ul>\n"


def _items(names: tuple[str, ...]) -> Iterator[str]:
    yield from (f'<li><a href="{REPORTS}{quote(name)}">{html.escape(name)}</a></li>' for name in names)


if __name__ == "__main__":
    sys.exit(main())
