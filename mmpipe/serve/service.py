"""What happens to a question between its first byte and its answer; nothing here speaks HTTP but for the problems."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmpipe.errors import SampleError, TransientError
from mmpipe.serve.admission import Admission
from mmpipe.serve.batcher import MicroBatcher
from mmpipe.serve.host import Host, Lane
from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.meters import Meters
from mmpipe.serve.predictor import Lost, NotFound, Predictor, Question, Said, Upload
from mmpipe.serve.problems import Problem, unusable
from mmpipe.serve.temporary import OwnFolder
from mmpipe.serve.uploads import Quota, Share, receive_upload, upload_folder

_LOG = logging.getLogger(__name__)
Body = AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is said, and by which version."""

    model: str
    version: str
    said: Said


class Service:
    """Answers uploads and keys by the version of now; made and used in one event loop."""

    def __init__(
        self, limits: ServeLimits, suffixes: Mapping[str, tuple[str, ...]], temporary: Path | None = None
    ) -> None:
        """Begin without a version. `suffixes` are those that files of a role may have."""
        self.limits, self.meters = limits, Meters()
        self._suffixes = suffixes
        self._readers = ThreadPoolExecutor(limits.workers + 2, thread_name_prefix="read")  # two: to look keys up
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._admission = Admission(limits.workers, limits.queue)
        self._quota = Quota(limits.temporary_bytes)
        self._folder = OwnFolder("serve", temporary)
        self.host = Host(self._batcher_of, self._readers)
        self.is_stopping, self._stopped_s = False, 0.0
        self.meters.watch(lambda: self._admission.waiting, lambda: self.host.depth, lambda: self._quota.held_bytes)

    @property
    def is_ready(self) -> bool:
        """Say whether a question would be answered now."""
        return self.host.lane is not None and not self.is_stopping

    async def take_over(self, predictor: Predictor) -> None:
        """Warm a version up, and let it answer from then on."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, predictor.warm_up, self.host.lane is not None)
        await self.host.take_over(predictor)
        self.meters.show_version(predictor.model, predictor.version)
        self.meters.ready.set(1)

    async def answer_upload(self, content_type: str, body: Body) -> Reply:
        """Answer about the files of a form. Raise Problem."""
        with self._counted(), self._admission.place():
            async with self._bounded(), self._lane() as lane:
                with upload_folder(self._folder.path) as folder, self._held() as quota:
                    deadline_s = asyncio.get_running_loop().time() + self.limits.timeout_s
                    with self._timed("upload"):
                        files = await receive_upload(content_type, body, folder, self.limits, quota, self._suffixes)
                    with self._timed("wait"):
                        await self._admission.begin_turn()
                    left_s = max(deadline_s - asyncio.get_running_loop().time(), 0.0)
                    upload = Upload(folder=folder, files=files, timeout_s=left_s)
                    with self._timed("read"):
                        question = await self._read(lane, upload)
                return await self._answered(lane, question)

    async def answer_key(self, asked: Callable[[], Awaitable[tuple[str, str | None]]]) -> Reply:
        """Answer about a clip of the store; `asked` reads its key and corpus, within the time. Raise Problem."""
        with self._counted(), self._admission.place():
            async with self._bounded(), self._lane() as lane:
                key, corpus = await asked()
                with self._timed("read"):
                    find = partial(lane.predictor.find, key, corpus)
                    question = await asyncio.get_running_loop().run_in_executor(self._readers, find)
                return await self._answered(lane, question)

    def stop(self) -> None:
        """Take nothing new from now on; a signal handler may call it."""
        if not self.is_stopping:
            self.is_stopping, self._stopped_s = True, time.monotonic()

    async def close(self) -> None:
        """Answer what is under way, as long as the limits allow since the stop, and let go of everything."""
        self.stop()
        self.meters.ready.set(0)
        left_s = max(self._stopped_s + self.limits.drain_s - time.monotonic(), 0.0)
        over = asyncio.get_running_loop().call_later(left_s, self.host.cancel)
        await self.host.close()
        over.cancel()
        self._network.shutdown(wait=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._folder.cleanup()

    # ----------------------------------------------------------------------- the parts of an answer

    async def _read(self, lane: Lane, upload: Upload) -> Question:
        """Have an upload read; whoever goes away meanwhile, the worker counts as taken until it lets go."""
        self.host.hold(lane)
        began_s = asyncio.get_running_loop().time()
        reading = asyncio.get_running_loop().run_in_executor(self._readers, lane.predictor.read, upload)

        def let_go(done: asyncio.Future[Question]) -> None:
            self._admission.end_turn(asyncio.get_running_loop().time() - began_s)
            self.host.release(lane)
            if not done.cancelled():
                done.exception()  # looked at, also where nobody waits for it any more

        reading.add_done_callback(let_go)
        return await asyncio.shield(reading)

    async def _answered(self, lane: Lane, question: Question) -> Reply:
        if not question.clips:
            raise unusable(question.lost)
        with self._timed("answer"):
            said = await lane.batcher.ask(question)
        if not said.clips:
            raise unusable((*said.lost, *question.lost))
        self.meters.clips.inc(len(said.clips))
        told = Said(clips=said.clips, lost=(*said.lost, *question.lost))
        return Reply(model=lane.predictor.model, version=lane.predictor.version, said=told)

    def _batcher_of(self, predictor: Predictor) -> MicroBatcher:
        return MicroBatcher(
            answer=predictor.answer,
            executor=self._network,
            window_s=self.limits.batch_window_s,
            max_questions=self.limits.batch_questions,
            is_more_coming=lambda: self._admission.under_way > self.host.depth,
            on_batch=self.meters.batch_questions.observe,
        )

    @asynccontextmanager
    async def _lane(self) -> AsyncIterator[Lane]:
        lane = self.host.lane
        if lane is None or self.is_stopping:
            detail = "the server is stopping" if self.is_stopping else "no version is loaded yet"
            raise Problem(status=503, code="not_ready", detail=detail, headers={"Retry-After": "5"})
        self.host.hold(lane)
        try:
            yield lane
        finally:
            self.host.release(lane)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Turn what goes wrong with a question into a problem, and end it in time."""
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                yield
        except TimeoutError as error:
            detail = f"it took longer than {self.limits.timeout_s:g} s"
            raise Problem(status=504, code="timeout", detail=detail) from error
        except SampleError as error:
            raise unusable((Lost(source="upload", code=error.code, detail=error.detail),)) from error
        except NotFound as error:
            raise Problem(status=404, code="no_such_clip", detail=str(error)) from error
        except TransientError as error:
            _LOG.warning("a question could not be answered: %s", error)
            detail = "the workers could not take it now"
            raise Problem(status=503, code="try_again", detail=detail, headers={"Retry-After": "1"}) from error

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except Problem as problem:
            self.meters.rejected.labels(problem.code).inc()
            raise

    @contextmanager
    def _held(self) -> Iterator[Share]:
        """Yield the room that one upload may take, and give it back with its files."""
        share = Share(quota=self._quota)
        try:
            yield share
        finally:
            share.give_back()

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.meters.stage_seconds.labels(stage).observe(time.monotonic() - began_s)
