"""The actors of an engine: called in as there is work for them, given one item each, replaced when they are lost."""

from __future__ import annotations

import itertools
import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from mmpipe.engine.ray.cluster import RaySettings, room_for_workers, when_done
from mmpipe.engine.ray.host import MOST_AT_ONCE, Broken, Let, News, actor_class
from mmpipe.engine.ray.job import Asker, Job, NodeCheck, WorkerKind
from mmpipe.engine.ray.node import NodeReport, report_node
from mmpipe.engine.work import Event, Outcome, WorkFailure
from mmpipe.errors import ConfigError, ShardError, StoreError, TransientError

MOST_LOSSES = 4  # actors that one item may lose: spot nodes go in waves, but something must end it
MOST_FAILED_STARTS = 3  # in a row, with no actor that came up between them
DEPTH = 2  # items that an actor holds at most: the second hides the way there and back
LOOK_S = 5.0  # how often room and waiting are looked at while items wait
END_S = 2.0  # how long a cancel waits for workers to say that they ended; then they are killed unasked
_ERRORS = {error.__name__: error for error in (ConfigError, StoreError, ShardError, TransientError)}


@dataclass(slots=True, kw_only=True, eq=False)
class _Member:
    """One actor as the driver sees it."""

    actor: Any
    host: str = ""
    is_up: bool = False
    jobs: dict[int, Job] = field(default_factory=dict)  # by ticket: the first is worked on, others wait behind it
    let_go: set[int] = field(default_factory=set)  # tickets that it was told to give up
    last: int = 0  # ticket that it was given


@dataclass(slots=True)
class _Table:
    """What only the dealing thread touches."""

    members: list[_Member] = field(default_factory=list)
    waiting: deque[Job] = field(default_factory=deque)
    failed_starts: int = 0
    room: int = 1
    room_seen_s: float = 0.0
    waiting_since_s: float | None = None  # for the first worker


class Crew:
    """Deals items to actors in a thread of its own, until it is dismissed."""

    def __init__(self, ray: Any, settings: RaySettings, kind: WorkerKind, check: NodeCheck | None) -> None:
        self._ray = ray
        self._settings = settings
        self._kind = kind
        self._check = check
        self._payload = check.prepare() if check else b""
        self._own = report_node("", b"")
        self._events: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._look_s = min(LOOK_S, settings.start_timeout_s)
        self._dismissed = False
        self._table = _Table()
        self._tickets = itertools.count(1)
        self._class = ray.remote(actor_class())
        self._thread = threading.Thread(target=self._deal, name="ray-crew", daemon=True)
        self._thread.start()

    def take(self, job: Job) -> None:
        """Bring an item to an actor, some time; after the end, its run raises."""
        self._events.put(lambda: self._table.waiting.append(job))
        if not self._thread.is_alive():
            self._refuse_late_ones()

    def look_again(self) -> None:
        """Notice that a run is over; its items are let go."""
        self._events.put(self._drop_abandoned)

    def dismiss(self) -> None:
        """End all actors and the dealing; takes no lock."""
        self._dismissed = True
        self._events.put(None)

    def join(self) -> None:
        """Return when everything is ended."""
        self._thread.join()

    def _deal(self) -> None:
        try:
            while not self._dismissed:
                with suppress(Empty):
                    happened = self._events.get(timeout=self._look_s if self._table.waiting else None)
                    if happened is not None:
                        happened()
                if not self._dismissed and self._events.empty():
                    self._hand_out()
                    self._call_in()
        except Exception as error:  # noqa: BLE001 - crosses the thread: the runs raise it
            self._fail(RuntimeError(f"the dealing of items to Ray failed: {type(error).__name__}: {error}"))
            self._dismissed = True
        finally:
            self._send_home()
            if self._check:
                self._check.clear()
            self._refuse_late_ones()

    # ------------------------------------------------------------------ items

    def _hand_out(self) -> None:
        """Give every actor an item, and a second one to wait there while many wait here; take that back if few do."""
        waiting = self._table.waiting
        crew = [member for member in self._table.members if member.is_up]
        for depth in range(1, DEPTH + 1):
            for member in crew:
                while len(member.jobs) < depth and len(waiting) > (depth - 1) * len(crew):
                    job = waiting.popleft()
                    if not job.run.is_over:
                        self._give(member, job)
        idle = sum((not member.jobs) - len(member.let_go) for member in crew)
        for member in crew:
            ticket = next(reversed(member.jobs), 0)
            if idle > 0 and len(member.jobs) > 1 and ticket not in member.let_go:
                idle -= 1
                self._take_back(member, ticket, though_begun=False)

    def _give(self, member: _Member, job: Job) -> None:
        ticket = next(self._tickets)
        member.jobs[ticket] = job
        self._listen(member, ticket, member.actor.serve.remote(ticket, member.last, job.function, job.pickled))
        member.last = ticket

    def _take_back(self, member: _Member, ticket: int, *, though_begun: bool) -> None:
        member.let_go.add(ticket)
        member.actor.let_go.remote(ticket, though_begun)

    def _listen(self, member: _Member, ticket: int, reference: Any) -> None:
        def note(news: list[News] | None, error: BaseException | None) -> None:
            self._events.put(lambda: self._hear(member, ticket, news, error))

        when_done(reference, note)

    def _hear(self, member: _Member, ticket: int, news: list[News] | None, error: BaseException | None) -> None:
        """Take what an actor answered about one of its items."""
        if member not in self._table.members:
            return
        if error is not None or news is None:
            self._lose(member, error)
            return
        job = member.jobs[ticket]
        for message in news:
            if isinstance(message, Event | Outcome) and not job.run.is_over:
                job.run.messages.put(message)
        last = news[-1]
        if isinstance(last, Event):
            self._listen(member, ticket, member.actor.news.remote(ticket))
            return
        del member.jobs[ticket]
        member.let_go.discard(ticket)
        if isinstance(last, Broken):
            self._fail(_ERRORS.get(last.kind, RuntimeError)(f"on {member.host}: {last.text}"), job.run)
        elif isinstance(last, Let) and not job.run.is_over:
            self._table.waiting.appendleft(job)

    def _drop_abandoned(self) -> None:
        """Let go of what nobody waits for any more."""
        table = self._table
        table.waiting = deque(job for job in table.waiting if not job.run.is_over)
        for member in table.members:
            for ticket, job in member.jobs.items():
                if job.run.is_over:
                    self._take_back(member, ticket, though_begun=True)

    def _fail(self, error: BaseException, run: Asker | None = None) -> None:
        """Let a run raise, or all of them."""
        table = self._table
        jobs = [*table.waiting, *(job for member in table.members for job in member.jobs.values())]
        for each in {id(job.run): job.run for job in jobs if run is None}.values():
            each.messages.put(error)
        if run is not None:
            run.messages.put(error)
        else:
            table.waiting.clear()

    def _refuse_late_ones(self) -> None:
        """Let runs raise whose items came when nobody deals any more."""
        with suppress(Empty):
            while True:
                if happened := self._events.get_nowait():
                    happened()
        self._fail(TransientError("the engine was cancelled or closed"))

    # ------------------------------------------------------------------ actors

    def _call_in(self) -> None:
        """Ask for as many actors as there is work for; those that find no room are what a cluster grows by."""
        table = self._table
        busy = sum(bool(member.jobs) for member in table.members)
        if not table.waiting:
            table.waiting_since_s = None
            return
        wanted = min(self._limit(), busy + len(table.waiting))
        while len(table.members) < wanted:
            self._start_one()
        self._watch_start()

    def _limit(self) -> int:
        if self._settings.num_workers:
            return self._settings.num_workers
        table = self._table
        if time.monotonic() >= table.room_seen_s + LOOK_S:
            table.room_seen_s = time.monotonic()
            table.room = max(1, room_for_workers(self._ray.nodes(), self._settings))
        return table.room

    def _start_one(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "num_cpus": settings.cpus,
            "num_gpus": settings.gpus,
            "max_restarts": 0,  # whoever is lost is replaced here, where its item is known
            "max_task_retries": 0,
            "max_concurrency": MOST_AT_ONCE,
        }
        if settings.memory_bytes:
            options["memory"] = settings.memory_bytes
        path = list(sys.path) if settings.is_private else []
        kind = self._kind
        actor = self._class.options(**options).remote(path, kind.setup, kind.memory_bytes, kind.log_level)
        member = _Member(actor=actor)
        self._table.members.append(member)

        def note(said: bytes | None, error: BaseException | None) -> None:
            self._events.put(lambda: self._welcome(member, said, error))

        when_done(actor.hello.remote(self._check.function if self._check else "", self._payload), note)

    def _welcome(self, member: _Member, said: bytes | None, error: BaseException | None) -> None:
        """Take an actor in, or refuse the node that it came up on."""
        if member not in self._table.members:
            return
        if error is not None or said is None:
            self._lose(member, error)
            return
        if not said:
            self._refuse(
                member,
                "mmpipe is not installed on a node of the Ray cluster. Build the nodes' image with it, or set "
                "engine.ray.ship_code = true.",
            )
            return
        report: NodeReport = pickle.loads(said)  # noqa: S301 - from our own actor
        member.host = report.host
        different = () if self._settings.is_private else self._own.differences(report)
        if different:
            self._refuse(
                member,
                f"the Ray node {report.host} would make other bytes: {', '.join(different)}. Give all nodes and this "
                "process the same image; for mmpipe alone, engine.ray.ship_code = true.",
            )
        elif report.fault:
            self._refuse(member, f"the Ray node {report.host} is not fit for this work: {report.fault}")
        else:
            member.is_up = True
            self._table.failed_starts = 0

    def _refuse(self, member: _Member, why: str) -> None:
        self._dismiss_one(member)
        self._fail(ConfigError(why))

    def _lose(self, member: _Member, error: BaseException | None) -> None:
        """Part with an actor that died or cannot be reached; its items go to another."""
        self._dismiss_one(member)  # out of reach is not dead: it must not go on with what another does now
        why = " ".join(str(error).split())[:300]
        if not member.is_up:
            self._note_failed_start(type(error).__name__, why)
        for number, job in reversed(list(enumerate(member.jobs.values()))):
            if job.run.is_over:
                continue
            if number == 0:  # the others only waited there
                job.losses += 1
                told = f"worker_lost: the actor on {member.host}: {why}"
                job.run.messages.put(Event(item=job.name, kind="died", text=told))
            if job.losses < MOST_LOSSES:
                self._table.waiting.appendleft(job)
            else:
                detail = f"{job.losses} Ray actors were lost while they had it; the last one: {why}"
                failure = WorkFailure(code="worker_killed", detail=detail)
                job.run.messages.put(Outcome(name=job.name, failure=failure))

    def _note_failed_start(self, kind: str, why: str) -> None:
        self._table.failed_starts += 1
        if kind in ("RuntimeEnvSetupError", "ActorUnschedulableError"):
            self._fail(ConfigError(f"no worker can be started on the Ray cluster: {why}"))
        elif self._table.failed_starts >= MOST_FAILED_STARTS:
            self._table.failed_starts = 0
            self._fail(TransientError(f"{MOST_FAILED_STARTS} Ray actors in a row died as they started: {why}"))

    def _dismiss_one(self, member: _Member) -> None:
        self._table.members.remove(member)
        with suppress(Exception):  # it may be dead already
            self._ray.kill(member.actor)

    def _watch_start(self) -> None:
        """Give up when no worker at all finds room for long; say meanwhile what is waited for."""
        table = self._table
        if any(member.is_up for member in table.members):
            table.waiting_since_s = None
            return
        now_s = time.monotonic()
        if table.waiting_since_s is None:
            table.waiting_since_s = now_s
        if now_s - table.waiting_since_s > self._settings.start_timeout_s:
            table.waiting_since_s = None
            asked = f"{self._settings.cpus:g} CPU, {self._settings.gpus:g} GPU, {self._settings.memory_bytes} bytes"
            has = {name: self._ray.cluster_resources().get(name, 0) for name in ("CPU", "GPU", "memory")}
            self._fail(
                TransientError(
                    f"no worker found room on the Ray cluster within {self._settings.start_timeout_s:g} s: each asks "
                    f"for {asked}; the cluster has {has}. Ask for less in [engine.ray], or let the cluster grow."
                )
            )

    def _send_home(self) -> None:
        """End the worker processes, then the actors."""
        members = self._table.members
        with suppress(Exception):  # a cluster that is gone has no actors left either
            ended = [member.actor.end.remote() for member in members if member.is_up]
            if ended:
                self._ray.wait(ended, num_returns=len(ended), timeout=END_S)
        for member in list(members):
            self._dismiss_one(member)
