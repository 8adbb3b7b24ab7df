"""A question over HTTP: its answer, what it may cost, and what is said where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from served import Serve

from mmpipe.serve.fake import CORPUS, NO_MEDIA, FakePredictor
from mmpipe.serve.predictor import Question, Said, Upload


def test_a_form_is_answered_by_one_version_under_its_id(serve: Serve) -> None:
    async def run() -> None:
        async with serve() as served:
            form = {"video": ("a.mp4", b"12345"), "text": ("b.txt", b"words")}
            told = await served.client.post("/v1/predict", files=form, headers={"X-Request-ID": "mine-7"})
            assert told.status_code == 200
            assert told.headers["x-request-id"] == "mine-7"
            assert told.json() == {
                "model": "fake",
                "version": "1-fake",
                "request_id": "mine-7",
                "clips": [{"key": "a" * 24, "start_s": 0.0, "end_s": 1.0, "video": 5, "text": 5}],
                "unanswered": [],
            }
            odd = await served.client.get("/healthz", headers={"X-Request-ID": "a b\\n"})
            assert odd.headers["x-request-id"] != "a b\\n"

    asyncio.run(run())


def test_a_clip_of_the_store_is_answered_by_its_key(serve: Serve) -> None:
    async def run() -> None:
        async with serve() as served:
            told = await served.client.post("/v1/predict", json={"key": "a" * 24, "corpus": CORPUS})
            assert told.json()["clips"][0]["key"] == 1
            for body, status in (
                ({"key": "b" * 24}, 404),
                ({"key": "a" * 24, "corpus": "none"}, 404),
                ({"key": "short"}, 422),
                ({"key": "a" * 24, "more": 1}, 422),
                ([], 422),
            ):
                assert (await served.client.post("/v1/predict", json=body)).status_code == status

    asyncio.run(run())


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, b"abc", 415, "content_type"),
        ({"content-type": "text/html"}, b"abc", 415, "content_type"),
        ({"content-type": "application/json"}, b"{", 400, "bad_question"),
        ({"content-type": "application/json"}, b" " * (17 << 10), 413, "json_too_large"),
        ({"content-type": "multipart/form-data"}, b"abc", 400, "bad_form"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"abc", 400, "bad_form"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 422, "no_file"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x\r\nA: b\r\n\r\nc\r\n--x--", 422, "unknown_role"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x\r\n" + b"A" * 20_000, 400, "bad_form"),
    ],
)
def test_what_is_no_question_has_a_reason(
    serve: Serve, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    async def run() -> None:
        async with serve() as served:
            told = await served.client.post("/v1/predict", content=body, headers=headers)
            assert (told.status_code, told.json()["code"]) == (status, code)
            assert told.headers["content-type"] == "application/problem+json"
            assert {"type", "title", "status", "detail", "instance", "way_out", "request_id"} <= told.json().keys()
            assert served.left_on_disk() == []

    asyncio.run(run())


def test_files_of_one_role_and_what_is_no_media_are_refused(serve: Serve) -> None:
    async def run() -> None:
        async with serve() as served:
            twice = [("audio", ("a", b"1")), ("audio", ("b", b"2"))]
            assert (await served.client.post("/v1/predict", files=twice)).json()["code"] == "role_twice"
            playlist = await served.ask(video=NO_MEDIA)
            assert (playlist.status_code, playlist.json()["code"]) == (415, "format_not_allowed")
            assert playlist.json()["unanswered"][0]["source"] == "video.mp4"
            beside = await served.ask(video=NO_MEDIA, text=b"words")
            assert beside.status_code == 200 and beside.json()["unanswered"][0]["code"] == "format_not_allowed"
            assert (await served.ask(text=b"")).status_code == 422
            metrics = await served.metrics()
            assert metrics['mmpipe_serve_rejected_total{reason="format_not_allowed"}'] == 1

    asyncio.run(run())


def test_an_upload_is_cut_off_at_the_limit_and_leaves_nothing(serve: Serve) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
        for _ in range(1_000):
            nonlocal sent
            sent += 1
            yield bytes(1 << 10)

    async def run() -> None:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        async with serve(upload_bytes=50 << 10) as served:
            told = await served.client.post("/v1/predict", content=endless(), headers=headers)
            assert (told.status_code, told.json()["code"]) == (413, "upload_too_large")
            assert sent < 100
            said = await served.client.post("/v1/predict", content=b"x" * 60_000, headers=headers)
            assert said.status_code == 413
            assert served.left_on_disk() == []
            assert (await served.ask(audio=b"good")).status_code == 200

    asyncio.run(run())


def test_uploads_share_the_room_on_the_disk(serve: Serve) -> None:
    async def run() -> None:
        async with serve(temporary_bytes=1_500) as served:
            served.predictor.gate.clear()
            first = asyncio.create_task(served.ask(audio=bytes(1_000)))
            while not served.left_on_disk():
                await asyncio.sleep(0.001)
            full = await served.ask(audio=bytes(1_000))
            assert (full.status_code, full.json()["code"]) == (503, "disk_full")
            served.predictor.gate.set()
            assert (await first).status_code == 200
            assert (await served.ask(audio=bytes(1_000))).status_code == 200
            assert (await served.metrics())["mmpipe_serve_temporary_bytes"] == 0

    asyncio.run(run())


def test_beyond_the_queue_one_is_told_when_to_come_back(serve: Serve) -> None:
    async def run() -> None:
        async with serve(workers=1, queue=1) as served:
            served.predictor.gate.clear()
            asked = [asyncio.create_task(served.ask(audio=b"a")) for _ in range(2)]
            while served.service._admission.under_way < 2:
                await asyncio.sleep(0.001)
            busy = await served.ask(audio=b"a")
            assert (busy.status_code, busy.json()["code"]) == (429, "busy")
            assert int(busy.headers["retry-after"]) >= 1
            served.predictor.gate.set()
            assert [told.status_code for told in await asyncio.gather(*asked)] == [200, 200]
            assert (await served.ask(audio=b"a")).status_code == 200

    asyncio.run(run())


def test_what_takes_too_long_is_ended_and_its_worker_counts_until_it_lets_go(serve: Serve) -> None:
    class Deaf(FakePredictor):
        """Does not look at the clock."""

        def read(self, upload: Upload) -> Question:
            self.gate.wait()
            return super().read(upload)

    async def run() -> None:
        async with serve(Deaf(), workers=1, queue=1, timeout_s=0.2) as served:
            served.predictor.gate.clear()
            late = await served.ask(audio=b"a")
            assert (late.status_code, late.json()["code"]) == (504, "timeout")
            assert served.left_on_disk() == []
            assert (await served.ask(audio=b"a")).status_code == 504, "the only worker is not free"
            served.predictor.gate.set()
            assert (await served.ask(audio=b"a")).status_code == 200

    asyncio.run(run())


def test_only_who_knows_the_key_is_answered(serve: Serve) -> None:
    async def run() -> None:
        async with serve(api_key="s3cret") as served:
            wrong: list[dict[str, str]] = [{}, {"x-api-key": "s3cre"}, {"authorization": "Bearer x"}, {"x-api-key": ""}]
            for headers in wrong:
                told = await served.client.post("/v1/predict", json={"key": "a" * 24}, headers=headers)
                assert (told.status_code, told.json()["code"]) == (401, "api_key")
            assert (await served.client.get("/metrics")).status_code == 401
            for headers in ({"x-api-key": "s3cret"}, {"authorization": "bearer s3cret"}):
                told = await served.client.post("/v1/predict", json={"key": "a" * 24}, headers=headers)
                assert told.status_code == 200
            for path in ("/healthz", "/readyz", "/openapi.json"):
                assert (await served.client.get(path)).status_code == 200

    asyncio.run(run())


def test_it_is_ready_only_with_a_warm_version(serve: Serve) -> None:
    async def run() -> None:
        async with serve(is_ready=False) as served:
            assert (await served.client.get("/healthz")).status_code == 200
            assert (await served.client.get("/readyz")).status_code == 503
            early = await served.ask(audio=b"a")
            assert (early.status_code, early.json()["code"]) == (503, "not_ready")
            await served.service.take_over(served.predictor)
            assert served.predictor.is_warm
            assert (await served.client.get("/readyz")).status_code == 200

    asyncio.run(run())


def test_a_fault_is_told_without_its_inside(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakePredictor):
        """Fails on every question."""

        def answer(self, questions: Sequence[Question]) -> Sequence[Said]:
            raise RuntimeError("a secret of ours")

    async def run() -> None:
        async with serve(Broken()) as served:
            told = await served.ask(audio=b"a")
            assert (told.status_code, told.json()["code"]) == (500, "fault")
            assert "secret" not in told.text and "a secret of ours" in caplog.text

    asyncio.run(run())
