"""Who asks at the same time is answered by one call; one bad question costs itself alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from served import Serve

from mmpipe.serve.batcher import MicroBatcher
from mmpipe.serve.fake import FakePredictor
from mmpipe.serve.predictor import Question, Said


def question(number: int) -> Question:
    return Question(body=number, clips=1)


def answer(questions: Sequence[Question]) -> list[Said]:
    if any(one.body == 13 for one in questions):
        raise ValueError("13")
    return [Said(clips=({"twice": 2 * int(str(one.body))},)) for one in questions]


def test_questions_of_one_window_share_a_call_of_bounded_size() -> None:
    sizes: list[int] = []

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            batcher = MicroBatcher(answer=answer, executor=pool, window_s=0.05, max_questions=4, on_batch=sizes.append)
            said = await asyncio.gather(*(batcher.ask(question(number)) for number in range(10)))
            assert [one.clips[0]["twice"] for one in said] == [2 * number for number in range(10)]

    asyncio.run(run())
    assert sizes == [4, 4, 2]


def test_a_single_question_does_not_wait_for_others() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            batcher = MicroBatcher(
                answer=answer, executor=pool, window_s=3_600, max_questions=4, is_more_coming=lambda: False
            )
            assert (await batcher.ask(question(4))).clips[0]["twice"] == 8

    asyncio.run(run())


def test_one_bad_question_costs_itself_alone() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            batcher = MicroBatcher(answer=answer, executor=pool, window_s=0.01, max_questions=8)
            asked = (batcher.ask(question(number)) for number in (12, 13, 14))
            said = await asyncio.gather(*asked, return_exceptions=True)
            assert [isinstance(one, ValueError) for one in said] == [False, True, False]

    asyncio.run(run())


def test_who_goes_away_is_not_asked_about() -> None:
    asked: list[int] = []

    def note(questions: Sequence[Question]) -> list[Said]:
        asked.extend(int(str(one.body)) for one in questions)
        return answer(questions)

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            batcher = MicroBatcher(answer=note, executor=pool, window_s=0.05, max_questions=8)
            tasks = [asyncio.create_task(batcher.ask(question(number))) for number in range(3)]
            await asyncio.sleep(0)
            tasks[1].cancel()
            await asyncio.gather(tasks[0], tasks[2])
            with pytest.raises(asyncio.CancelledError):
                await tasks[1]

    asyncio.run(run())
    assert asked == [0, 2]


def test_a_new_version_takes_over_and_the_old_one_ends_with_its_last_question(serve: Serve) -> None:
    async def run() -> None:
        async with serve(workers=2) as served:
            old, new = served.predictor, FakePredictor("2-fake")
            old.gate.clear()
            first = asyncio.create_task(served.ask(audio=b"a"))
            while not served.left_on_disk():
                await asyncio.sleep(0.001)
            await served.service.take_over(new)
            assert (await served.ask(audio=b"a")).json()["version"] == "2-fake"
            assert not old.is_closed
            old.gate.set()
            assert (await first).json()["version"] == "1-fake"
            while not old.is_closed:
                await asyncio.sleep(0.001)
            metrics = await served.metrics()
            assert metrics['mmpipe_serve_model{model="fake",version="2-fake"}'] == 1
            assert 'mmpipe_serve_model{model="fake",version="1-fake"}' not in metrics
        assert new.is_closed

    asyncio.run(run())


def test_what_is_under_way_is_answered_before_the_end(serve: Serve) -> None:
    async def run() -> None:
        async with serve() as served:
            served.predictor.gate.clear()
            asked = asyncio.create_task(served.ask(audio=b"a"))
            while not served.left_on_disk():
                await asyncio.sleep(0.001)
            closing = asyncio.create_task(served.service.close())
            await asyncio.sleep(0)
            assert (await served.client.get("/readyz")).status_code == 503
            assert (await served.ask(audio=b"a")).json()["code"] == "not_ready"
            served.predictor.gate.set()
            assert (await asked).status_code == 200
            await closing
            assert served.predictor.is_closed and list(served.folder.iterdir()) == []

    asyncio.run(run())
