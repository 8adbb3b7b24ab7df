"""The engine of a Ray cluster: actors take items, each in a supervised worker process just as on one machine.

One thread deals: it hears of new items, of actors that come, answer or die, and of runs that end, all by one queue.
At most two items an actor are ever on the cluster; the others wait here.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Sequence
from typing import Self

from mmpipe.engine.engine import OnEvent, ignore_event
from mmpipe.engine.ray.cluster import RaySettings, enter_cluster, leave_cluster
from mmpipe.engine.ray.crew import Crew
from mmpipe.engine.ray.job import Job, NodeCheck, WorkerKind
from mmpipe.engine.run import Run
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.engine.worker_log import OFF
from mmpipe.errors import TransientError


class RayEngine:
    """Runs items on a Ray cluster; same interface and same results as the engine of one machine.

    `memory_bytes` and `worker_setup` hold for every worker process, as they do locally. An item whose actor or node
    is lost goes to another actor. Nothing is started before there is work; nothing outlives this process.
    """

    def __init__(
        self,
        settings: RaySettings,
        memory_bytes: int,
        worker_setup: str | None = None,
        node_check: NodeCheck | None = None,
        log_level: int = OFF,
    ) -> None:
        self._settings = settings
        self._kind = WorkerKind(memory_bytes=memory_bytes, setup=worker_setup, log_level=log_level)
        self._node_check = node_check
        self._runs: set[Run] = set()
        self._start_lock = threading.Lock()
        self._crew: Crew | None = None
        self._cancelled = False

    def run(self, function: str, items: Sequence[WorkItem], on_event: OnEvent = ignore_event) -> Iterator[Outcome]:
        """Yield one outcome per item, as they come.

        Raise TransientError after a cancel, or when no worker can be placed or started; ConfigError when the cluster
        or a node of it is not fit for this work.
        """
        run = Run(function)
        self._runs.add(run)  # first, so that no cancel comes between the look and the wait
        crew = None
        try:
            if items:
                crew = self._start()
                for item in items:
                    crew.take(Job(run=run, function=function, name=item.name, pickled=pickle.dumps(item)))
            for _ in items:
                yield run.next_outcome(on_event)
        finally:
            run.is_over = True
            self._runs.discard(run)
            if crew:
                crew.look_again()

    def cancel(self) -> None:
        """Kill all workers and let running iterators raise; the engine is of no use afterwards.

        Takes no lock and asks nothing of Ray, so that a signal handler may call it.
        """
        self._cancelled = True
        for run in list(self._runs):
            run.messages.put(TransientError("the run was cancelled"))
        if self._crew is not None:
            self._crew.dismiss()

    def close(self) -> None:
        """Cancel what still runs, and return when no process of ours is left."""
        self.cancel()
        with self._start_lock:
            crew, self._crew = self._crew, None
            if crew is not None:
                crew.dismiss()
                crew.join()
                leave_cluster()

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the engine."""
        self.close()

    def _start(self) -> Crew:
        with self._start_lock:
            if self._cancelled:
                raise TransientError("the engine was cancelled or closed")
            if self._crew is None:
                ray = enter_cluster(self._settings)
                try:
                    self._crew = Crew(ray, self._settings, self._kind, self._node_check)
                except BaseException:
                    leave_cluster()
                    raise
            return self._crew
