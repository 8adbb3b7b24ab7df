"""Who may ask the app, and what: names, passwords, methods, and pages of other sites."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from fake_site import FakeSite
from starlette.testclient import TestClient

from mmpipe.app.access import Access, access_for
from mmpipe.app.routes import make_app
from mmpipe.app.server import address_of, listen
from mmpipe.errors import ConfigError, StoreError, TransientError


def client_of(site: FakeSite, access: Access = Access()) -> TestClient:  # noqa: B008 - it is frozen
    return TestClient(make_app(site, access), base_url="http://127.0.0.1:4850", raise_server_exceptions=False)


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_nothing_but_reading_is_answered(method: str) -> None:
    answer = client_of(FakeSite()).request(method, "/")
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"


def test_a_head_has_the_headers_and_no_body() -> None:
    answer = client_of(FakeSite()).head("/")
    assert answer.status_code == 200 and answer.content == b"" and int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:4850", "", "localhost.evil.example", "["])
def test_a_foreign_name_for_this_machine_is_refused(host: str) -> None:
    assert client_of(FakeSite()).get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:4850"])
def test_a_name_of_this_machine_is_answered(host: str) -> None:
    assert client_of(FakeSite()).get("/", headers={"host": host}).status_code == 200


def test_a_password_is_asked_for_and_nothing_is_shown_without() -> None:
    client = client_of(FakeSite(), Access(host="0.0.0.0", password="long enough"))
    for headers in ({}, basic("wrong one"), {"authorization": "Basic %%%"}, {"authorization": "Bearer long enough"}):
        answer = client.get("/style.css", headers=headers)
        assert answer.status_code == 401 and "www-authenticate" in answer.headers
    assert client.get("/", headers={**basic("long enough"), "host": "store.example"}).status_code == 200


def test_a_page_of_another_site_may_link_and_not_load() -> None:
    client = client_of(FakeSite())
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200
    assert client.get("/").headers["cross-origin-resource-policy"] == "same-origin"


def test_a_question_of_no_end_is_refused() -> None:
    assert client_of(FakeSite()).get("/", params={"x": "y" * 3000}).status_code == 414


def test_beyond_this_machine_only_with_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--password-env"):
        access_for("0.0.0.0", None)
    monkeypatch.setenv("MMPIPE_APP_PASSWORD", "short")
    with pytest.raises(ConfigError, match="8 letters"):
        access_for("0.0.0.0", "MMPIPE_APP_PASSWORD")
    monkeypatch.setenv("MMPIPE_APP_PASSWORD", "long enough")
    access = access_for("0.0.0.0", "MMPIPE_APP_PASSWORD")
    assert access.password == "long enough" and "long enough" not in repr(access)
    assert access_for("127.0.0.1", None).password == ""


def test_where_nobody_can_listen_the_error_says_what_to_do() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}/"
        for host in ("127.0.0.1", "192.0.2.1"):  # taken, and of another machine
            with pytest.raises(ConfigError, match="--port"):
                listen(host, port)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (TransientError("committed anew <b>"), 503, "Ask again"),
        (StoreError("object is damaged. Run `mmpipe verify`."), 500, "mmpipe verify"),
        (ConfigError("no such key"), 500, "config"),
        (ValueError("inside"), 500, "terminal"),
    ],
)
def test_an_error_is_a_page_and_tells_nothing_of_the_inside(error: Exception, status: int, words: str) -> None:
    client = client_of(FakeSite(fault=error))
    answer = client.get("/models")
    assert answer.status_code == status and words in answer.text
    assert "<b>" not in answer.text.replace("<b>mmpipe</b>", "") and "inside" not in answer.text.replace("Inside", "")
    twin = client.get("/models?format=json")
    assert twin.status_code == status and set(twin.json()) == {"title", "why"}


def test_a_store_in_writing_is_asked_again_later() -> None:
    assert client_of(FakeSite(fault=TransientError("x"))).get("/models").headers["retry-after"] == "2"


def test_the_look_has_no_address_of_another_server() -> None:
    style = client_of(FakeSite()).get("/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "http" not in style.text and "@import" not in style.text and "url(" not in style.text
    templates = Path(__file__).resolve().parents[2] / "mmpipe" / "app" / "templates"
    for path in templates.glob("*.j2"):
        text = path.read_text()
        assert (
            "http:" not in text
            and "https:" not in text
            and "|safe" not in text.replace(" ", "")
            and " style=" not in text
        )
