"""What stands before a question, and what comes after: who may ask, who goes away, how it ends, what is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from served import Serve

from mmpipe.cli.serve import _api_key
from mmpipe.errors import ConfigError
from mmpipe.serve.app import make_app
from mmpipe.serve.fake import FakePredictor
from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.service import Service
from mmpipe.serve.temporary import OwnFolder, sweep


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8080"}, 421),
        ({"host": "[::1]:8080"}, 200),
        ({"host": "LOCALHOST:8080"}, 200),
        ({"host": ""}, 421),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "none"}, 200),
    ],
)
def test_without_a_key_only_programs_of_this_machine_are_answered(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    async def run() -> None:
        async with serve() as served:
            told = await served.client.post("/v1/predict", json={"key": "a" * 24}, headers=headers)
            assert told.status_code == status
            assert status == 200 or told.json()["way_out"]
        async with serve(api_key="s3cret") as served:
            shown = {**headers, "x-api-key": "s3cret"}
            assert (await served.client.post("/v1/predict", json={"key": "a" * 24}, headers=shown)).status_code == 200

    asyncio.run(run())


def test_a_variable_that_is_named_has_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPIPE_API_KEY", "usual")
    monkeypatch.setenv("EMPTY", " ")
    assert (_api_key(None), _api_key("MMPIPE_API_KEY"), _api_key("")) == ("usual", "usual", "")
    for name in ("EMPTY", "NO_SUCH_VARIABLE"):
        with pytest.raises(ConfigError, match=name):
            _api_key(name)
    monkeypatch.delenv("MMPIPE_API_KEY")
    assert _api_key(None) == ""


@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=x", b"application/json"])
def test_who_goes_away_while_sending_is_no_fault(tmp_path: Path, kind: bytes, caplog: pytest.LogCaptureFixture) -> None:
    sent: list[dict[str, object]] = [
        {"type": "http.request", "body": b"--x\r\n", "more_body": True},
        {"type": "http.disconnect"},
    ]
    messages = iter(sent)
    headers = [(b"host", b"localhost"), (b"content-type", kind)]
    path = "/v1/predict"
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "root_path": ""}

    async def receive() -> dict[str, object]:
        return next(messages)

    async def send(message: object) -> None:
        raise AssertionError(message)

    async def run() -> bytes:
        service = Service(ServeLimits(), {"audio": (".wav",)}, tmp_path)
        app = make_app(lambda: service)
        await service.take_over(FakePredictor())
        await app(scope, receive, send)
        assert service._admission.under_way == 0
        await service.close()
        return service.meters.render()

    counted = asyncio.run(run())
    assert b'requests_total{route="/v1/predict",status="499"} 1.0' in counted and b'status="500"' not in counted
    assert not caplog.records


def test_a_key_that_never_comes_is_waited_for_no_longer_than_a_file(serve: Serve) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async def run() -> None:
        async with serve(timeout_s=0.1, workers=1, queue=0) as served:
            headers = {"content-type": "application/json"}
            asked = asyncio.create_task(served.client.post("/v1/predict", content=slow(), headers=headers))
            while not served.service._admission.under_way:
                await asyncio.sleep(0.001)
            assert (await served.client.post("/v1/predict", json={"key": "a" * 24})).status_code == 429
            assert (await asked).status_code == 504

    asyncio.run(run())


def test_the_end_comes_after_the_time_to_drain(serve: Serve) -> None:
    async def run() -> None:
        async with serve(drain_s=0.2) as served:
            served.predictor.gate.clear()
            asked = asyncio.create_task(served.ask(audio=b"a"))
            while not served.left_on_disk():
                await asyncio.sleep(0.001)
            served.service.stop()
            assert (await served.client.get("/readyz")).status_code == 503
            async with asyncio.timeout(10):
                await served.service.close()
            assert served.predictor.is_cancelled and (await asked).status_code == 503

    asyncio.run(run())


def test_a_version_that_comes_second_leaves_the_first_room(serve: Serve) -> None:
    async def run() -> None:
        async with serve() as served:
            second = FakePredictor("2-fake")
            await served.service.take_over(second)
            assert (served.predictor.is_beside, second.is_beside) == (False, True)

    asyncio.run(run())


def test_what_a_killed_server_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from mmpipe.serve.temporary import OwnFolder
own = OwnFolder("serve", Path({str(tmp_path)!r}))
(own.path / "upload").write_text("private")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = tmp_path.iterdir()
    own, other = OwnFolder("asked", tmp_path), tmp_path / "mmpipe-other"
    other.mkdir()
    assert left.is_dir(), "it is young: its maker may still be about to lock it"
    for folder in (left, own.path, other):
        os.utime(folder, (1, 1))
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {own.path, other}
    own.cleanup()
    assert list(tmp_path.iterdir()) == [other]
