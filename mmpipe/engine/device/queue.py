"""The requests of one device: first come, first served, but those whose model is loaded before those whose is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mmpipe.engine.device.block import SharedBlock
from mmpipe.engine.device.peer import Peer
from mmpipe.types import DeviceMedia

# So many others may pass a request that waits for a model to be loaded. Every pass saves a change of models; the bound
# keeps a rare feature from waiting for as long as there is work for another.
PATIENCE = 256


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A request that waits for its turn, with its media as views of shared memory."""

    peer: Peer
    number: int
    slot: int
    spec: str
    media: Sequence[DeviceMedia]
    block: SharedBlock
    nbytes: int
    staged: list[object] = field(default_factory=list)  # what `stage` returned, once it did
    num_passed: int = 0


class JobQueue:
    """Where requests wait; the thread that computes takes them, another stages the next one meanwhile.

    It needs no bound: every worker has a few blocks, and no request without one.
    """

    def __init__(self, is_loaded: Callable[[str], bool]) -> None:
        self._is_loaded = is_loaded
        self._jobs: list[Job] = []
        self._staging: Job | None = None
        self._change = threading.Condition()

    def put(self, job: Job) -> None:
        """Append a request."""
        with self._change:
            self._jobs.append(job)
            self._change.notify_all()

    def forget(self, peer: Peer) -> None:
        """Leave out what somebody asked for who is gone."""
        with self._change:
            self._jobs = [job for job in self._jobs if job.peer is not peer]

    def take(self) -> tuple[Job, int]:
        """Wait for the next request; return it and the nanoseconds that there was none."""
        started_ns = time.monotonic_ns()
        with self._change:
            while not self._jobs:
                self._change.wait()
            idle_ns = time.monotonic_ns() - started_ns
            job = self._next()
            first = self._jobs[0]
            if job is not first:
                first.num_passed += 1
            self._jobs.remove(job)
            while self._staging is job:
                self._change.wait()
            self._change.notify_all()
            return job, idle_ns

    @contextmanager
    def next_to_stage(self) -> Iterator[Job]:
        """Wait for the request that comes next and is not staged yet; it is not taken while the block runs."""
        with self._change:
            while (job := self._unstaged()) is None:
                self._change.wait()
            self._staging = job
        try:
            yield job
        finally:
            with self._change:
                self._staging = None
                self._change.notify_all()

    @contextmanager
    def nothing_staged(self) -> Iterator[None]:
        """Keep staging out, and drop what is staged: memory on the device is needed."""
        with self._change:
            while self._staging is not None:
                self._change.wait()
            for job in self._jobs:
                job.staged.clear()
            yield

    def _next(self) -> Job:
        first = self._jobs[0]
        if first.num_passed >= PATIENCE or self._is_loaded(first.spec):
            return first
        return next((job for job in self._jobs if self._is_loaded(job.spec)), first)

    def _unstaged(self) -> Job | None:
        """Return the next request if it is not staged; only one lies ahead, so that memory stays bounded."""
        job = self._next() if self._jobs else None
        return job if job and not job.staged and self._is_loaded(job.spec) else None
