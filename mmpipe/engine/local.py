"""The engine of one machine: a thread per worker takes items from one queue and watches its process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from mmpipe.engine.engine import OnEvent, ignore_event
from mmpipe.engine.run import Run
from mmpipe.engine.slot import Slot, Stopped, WorkerSettings
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.engine.worker_log import OFF
from mmpipe.errors import TransientError


class LocalEngine:
    """Runs items in persistent, supervised worker processes, started when there is work and kept between runs.

    Every item runs under its timeout, its worker under `memory_bytes`; a part that ends its worker again and again is
    left out and reported. `worker_setup` ("module:name") is called once in every new worker. Standard output and error
    of worker k go to `log_folder/worker-k.log`, or, from `log_level` on with all that is logged in it, to the logger
    `mmpipe.worker` in the thread that runs the item. May be shared by threads.
    """

    def __init__(
        self,
        num_workers: int,
        memory_bytes: int,
        worker_setup: str | None = None,
        log_folder: Path | None = None,
        log_level: int = OFF,
    ) -> None:
        self._num_workers = num_workers or len(os.sched_getaffinity(0))
        self._memory_bytes = memory_bytes
        self._setup = worker_setup
        self._log_folder = log_folder
        self._log_level = log_level
        self._jobs: SimpleQueue[tuple[Run, WorkItem] | None] = SimpleQueue()
        self._runs: set[Run] = set()
        self._threads: list[threading.Thread] = []
        self._start_lock = threading.Lock()
        self._cancelled = False
        self._stop_descriptor = -1

    def run(self, function: str, items: Sequence[WorkItem], on_event: OnEvent = ignore_event) -> Iterator[Outcome]:
        """Yield one outcome per item, as they come. An item's place in the queue is first come, first served.

        Raise TransientError after a cancel, or when workers cannot start; ConfigError when their set-up refuses.
        """
        run = Run(function)
        self._runs.add(run)  # first, so that no cancel comes between the look and the wait
        try:
            self._start_threads()
            for item in items:
                self._jobs.put((run, item))
            for _ in items:
                yield run.next_outcome(on_event)
        finally:
            run.is_over = True
            self._runs.discard(run)

    def cancel(self) -> None:
        """Kill all workers and let running iterators raise; the engine is of no use afterwards.

        Takes no lock, so that a signal handler may call it.
        """
        self._cancelled = True
        if self._stop_descriptor >= 0:
            os.eventfd_write(self._stop_descriptor, 1)
        for run in list(self._runs):
            run.messages.put(TransientError("the run was cancelled"))
        for _ in range(self._num_workers):
            self._jobs.put(None)

    def close(self) -> None:
        """Cancel what still runs, and return when no process is left."""
        self.cancel()
        with self._start_lock:
            for thread in self._threads:
                thread.join()
            self._threads.clear()
            descriptor, self._stop_descriptor = self._stop_descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the engine."""
        self.close()

    def _start_threads(self) -> None:
        with self._start_lock:
            if self._cancelled:
                raise TransientError("the engine was cancelled or closed")
            if self._threads:
                return
            self._stop_descriptor = os.eventfd(0)
            for number in range(self._num_workers):
                settings = WorkerSettings(
                    setup=self._setup,
                    memory_bytes=self._memory_bytes,
                    log_file=self._log_folder and self._log_folder / f"worker-{number}.log",
                    stop_descriptor=self._stop_descriptor,
                    log_level=self._log_level,
                )
                # Daemons: an engine that nobody closed must not keep the process; the kernel ends its workers.
                thread = threading.Thread(target=self._serve, args=(settings,), name=f"worker-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self, settings: WorkerSettings) -> None:
        """Bring job after job through one worker: the whole life of a thread."""
        slot = Slot(settings)
        try:
            while (job := self._jobs.get()) is not None:
                run, item = job
                if run.is_over or self._cancelled:
                    continue
                try:
                    run.messages.put(slot.serve(run.function, item, run.messages.put, partial(self._is_over, run)))
                except Stopped:
                    slot.end()
                except BaseException as error:  # noqa: BLE001 - crosses the thread: the run raises it
                    slot.end()
                    run.messages.put(error)
        finally:
            slot.end()

    def _is_over(self, run: Run) -> bool:
        return self._cancelled or run.is_over
