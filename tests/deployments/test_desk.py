"""The desk shows reports and metrics, and nothing else of the machine."""

from __future__ import annotations

import base64
import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from deployments.binding import free_port
from deployments.desk import Desk, make_server
from mmpipe.config import parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.tell.pages import pages_folder

PAGE = "street-2026-11-20.html"
AUTH = "mmpipe:word"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A store's folder of reports, with things that are not to be shown in it and beside it."""
    folder = tmp_path / "store" / "reports"
    (folder / "inner").mkdir(parents=True)
    (folder / PAGE).write_text("<h1>a night</h1>")
    (folder / "curve.svg").write_text("<svg/>")
    (folder / ".hidden.html").write_text("secret")
    (folder / "table.parquet").write_text("secret")
    (folder / "inner" / "page.html").write_text("secret")
    (tmp_path / "store" / "secret.html").write_text("secret")
    (folder / "link.html").symlink_to(tmp_path / "store" / "secret.html")
    os.mkfifo(folder / "pipe.html")
    return folder


@contextmanager
def served(desk: Desk, auth: str = "") -> Iterator[int]:
    """Serve a desk on loopback and say at which port."""
    server = make_server(desk, "127.0.0.1", free_port(4720), auth)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(port: int, target: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, target, skip_host="Host" in headers)  # as it is: no client tidies the path
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def desk_of(folder: Path) -> Desk:
    return Desk(pages=lambda: folder, metrics=lambda: "mmpipe_clips 3\n")


def test_a_report_opens_and_may_neither_run_nor_load_anything(reports: Path) -> None:
    with served(desk_of(reports)) as port:
        status, headers, body = ask(port, f"/reports/{PAGE}")
        assert (status, body) == (200, b"<h1>a night</h1>")
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert ask(port, "/reports/curve.svg")[1]["content-type"] == "image/svg+xml"


def test_the_first_page_lists_what_there_is(reports: Path) -> None:
    with served(desk_of(reports)) as port:
        status, _, body = ask(port, "/")
    assert status == 200
    assert f'href="/reports/{PAGE}"' in body.decode()
    assert b"secret" not in body
    assert b"hidden" not in body


def test_metrics_are_plain_text(reports: Path) -> None:
    with served(desk_of(reports)) as port:
        status, headers, body = ask(port, "/metrics")
    assert (status, body) == (200, b"mmpipe_clips 3\n")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    "target",
    [
        "/reports/../secret.html",
        "/reports/%2e%2e/secret.html",
        "/reports/..%2fsecret.html",
        "/reports/%2e%2e%2fsecret.html",
        "/reports/..%5csecret.html",
        "/reports//etc/passwd",
        "/reports/%2fetc%2fpasswd",
        "/../secret.html",
        "/secret.html",
        "//secret.html",
        "/reports/inner/page.html",
        "/reports/inner",
        "/reports/.hidden.html",
        "/reports/table.parquet",
        "/reports/link.html",
        "/reports/pipe.html",
        "/reports/none.html",
        f"/reports/{PAGE}%00.html",
        f"/reports/{PAGE}%0a",
        "/reports/" + "a" * 300 + ".html",
        "/reports",
        "/api/flows",
    ],
)
def test_nothing_else_is_shown(reports: Path, target: str) -> None:
    with served(desk_of(reports)) as port:
        status, _, body = ask(port, target)
    assert status == 404
    assert b"secret" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(reports: Path, method: str) -> None:
    with served(desk_of(reports)) as port:
        assert ask(port, f"/reports/{PAGE}", method)[0] == 501
        assert ask(port, f"/reports/{PAGE}", "HEAD")[2] == b""
    assert (reports / PAGE).exists()


def test_a_page_of_the_web_cannot_come_under_its_own_name(reports: Path) -> None:
    with served(desk_of(reports)) as port:
        assert ask(port, "/", Host="evil.example")[0] == HTTPStatus.MISDIRECTED_REQUEST
        assert ask(port, "/", Host=f"localhost:{port}")[0] == 200


def test_with_a_password_nobody_comes_without(reports: Path) -> None:
    right, wrong = (base64.b64encode(text.encode()).decode() for text in (AUTH, "mmpipe:another"))
    with served(desk_of(reports), AUTH) as port:
        for headers in ({}, {"Authorization": f"Basic {wrong}"}, {"Authorization": "Basic"}):
            for target in ("/", "/metrics", f"/reports/{PAGE}"):
                status, answered, body = ask(port, target, **headers)
                assert (status, answered["www-authenticate"]) == (401, 'Basic realm="mmpipe"')
                assert b"night" not in body
        assert ask(port, "/", Authorization=f"Basic {right}", Host="prefect.example.org")[0] == 200


def test_beyond_this_machine_it_does_not_listen_without_a_password() -> None:
    with pytest.raises(ConfigError, match="without a password"):
        make_server(desk_of(Path()), "0.0.0.0", 4720)


def test_without_a_store_it_says_so_and_goes_on(tmp_path: Path) -> None:
    config = parse_config({"store": str(tmp_path / "none")})
    with served(Desk(pages=lambda: pages_folder(config), metrics=lambda: "")) as port:
        status, _, body = ask(port, "/")
        assert status == 503
        assert b"no store at" in body
        assert ask(port, "/metrics")[0] == 200
