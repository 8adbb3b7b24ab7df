"""The figures of the server's benchmark are those of what it timed."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from benchmarks.serve import GOALS, Timed, by_key


def test_throughput_is_over_the_wall_and_latencies_are_of_the_questions() -> None:
    timed = Timed(seconds=tuple(number / 1_000 for number in range(1, 101)), wall_s=2.0)
    assert timed.figures() == pytest.approx({"per_s": 50.0, "p50_ms": 50.5, "p95_ms": 96.0})
    assert all(goal > 0 for goal in GOALS.values())


def test_every_client_asks_about_another_clip() -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        return httpx.Response(200)

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://served") as http:
            for number in range(3):
                await by_key(["k0", "k1"])(http, number)

    asyncio.run(run())
    assert [b"k0" in body for body in asked] == [True, False, True]
