"""The place of one worker: brings items through processes that may die, and finds the part that kills them."""

from __future__ import annotations

import json
import logging
import pickle
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mmpipe.engine.frames import Kind
from mmpipe.engine.process import WorkerProcess
from mmpipe.engine.strikes import Strikes
from mmpipe.engine.work import Event, Outcome, PoisonedPart, SaidLine, WorkFailure, WorkItem
from mmpipe.engine.worker_log import OFF, OUTPUT, LineLimit, parse_line
from mmpipe.errors import ConfigError, TransientError
from mmpipe.words import counted, printable

TICK_S = 0.05  # how often memory and life are looked at: a worker can outgrow its limit for so long
START_TIMEOUT_S = 180.0  # imports of a large library on a busy machine

_BROKEN = "the worker said something that it should not"


class Stopped(Exception):
    """The run is over: nobody waits for this item any more."""


@dataclass
class WorkerDied(Exception):
    """The worker was lost; the detail is the same for every run, since it goes into the quarantine."""

    code: str
    detail: str
    killed: bool = False  # by a SIGKILL that we did not send


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How the worker of a slot is made and bounded."""

    setup: str | None
    memory_bytes: int
    log_file: Path | None
    stop_descriptor: int
    log_level: int = OFF  # least level of what the process says that becomes an event


class Slot:
    """Holds at most one worker process, and starts it when there is work; use it from one thread."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._process: WorkerProcess | None = None
        self._part = ""
        self._next_weighing_s = 0.0
        self._say: Callable[[SaidLine], None] = lambda line: None  # tells who waits for the item

    def serve(
        self, function: str, item: WorkItem, emit: Callable[[Event], None], is_over: Callable[[], bool]
    ) -> Outcome:
        """Run an item until it finishes, without the parts that ended the worker again and again. Raise Stopped."""
        strikes = Strikes()
        poisoned: dict[str, PoisonedPart] = {}
        self._ear = _Ear(item.name, emit)
        while True:
            try:
                answer = self._attempt(function, item, poisoned, emit, is_over)
                break
            except WorkerDied as death:
                part = self._part
                emit(Event(item=item.name, kind="died", text=f"{death.code}: {death.detail}"))
                if not strikes.add(part, killed=death.killed):
                    continue
                if part == "" or part in poisoned:  # nothing to leave out, or it would not be left out
                    answer = WorkFailure(code=death.code, detail=death.detail, part=part)
                    break
                poisoned[part] = PoisonedPart(part=part, code=death.code, detail=death.detail)
                emit(Event(item=item.name, kind="poisoned", text=part))
        if self._process is not None:
            self._without_lines((), self._process.take_lines(to_end=True))
        self._ear.tell_rest()
        found = tuple(poisoned.values())
        if isinstance(answer, WorkFailure):
            return Outcome(name=item.name, failure=answer, poisoned=found)
        return Outcome(name=item.name, result=answer, poisoned=found)

    def end(self) -> None:
        """Leave no process behind; the next item starts a fresh one."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _attempt(
        self,
        function: str,
        item: WorkItem,
        poisoned: dict[str, PoisonedPart],
        emit: Callable[[Event], None],
        is_over: Callable[[], bool],
    ) -> bytes | WorkFailure:
        self._part = ""
        reasons = {part: poison.code for part, poison in poisoned.items()}
        task = pickle.dumps((function, item.payload, reasons))
        process = self._ready_process(is_over)
        emit(Event(item=item.name, kind="started", text=str(process.pid)))
        process.post(Kind.TASK, task)
        deadline_s = time.monotonic() + item.timeout_s
        while True:
            for kind, body in self._watch(process, deadline_s, item.timeout_s, is_over):
                if kind is Kind.PART:
                    self._part = _name_of(body)
                    deadline_s = time.monotonic() + item.timeout_s
                    emit(Event(item=item.name, kind="part", text=self._part))
                elif kind is Kind.RESULT:
                    return body
                elif kind is Kind.FAILURE:
                    return self._parse_failure(body)
                elif kind is Kind.STARVED:
                    raise self._loss("memory", "the worker ran into MemoryError")
                else:
                    raise self._loss("worker_killed", _BROKEN)

    def _ready_process(self, is_over: Callable[[], bool]) -> WorkerProcess:
        """Return a worker that is set up, a new one if need be; one that dies while it starts is tried again."""
        if self._process is not None and self._process.is_alive():
            return self._process
        deaths: list[str] = []
        strikes, is_hopeless = Strikes(), False
        while not is_hopeless:
            self.end()
            settings = self._settings
            self._process = WorkerProcess(settings.log_file, settings.stop_descriptor, settings.log_level)
            try:
                return self._set_up(self._process, is_over)
            except WorkerDied as death:
                deaths.append(death.detail)
                is_hopeless = strikes.add("", killed=death.killed)
        log = self._settings.log_file or "nowhere: give the engine a log_folder"
        said = f"It said at last: {self._ear.last}" if self._ear.last else f"Its log is {log}"
        raise TransientError(f"a worker process could not start: {'; then '.join(deaths)}. {said}")

    def _set_up(self, process: WorkerProcess, is_over: Callable[[], bool]) -> WorkerProcess:
        process.post(Kind.SETUP, (self._settings.setup or "").encode())
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            for kind, body in self._watch(process, deadline_s, START_TIMEOUT_S, is_over):
                if kind is Kind.READY:
                    return process
                if kind is not Kind.FAILURE:
                    raise self._loss("worker_killed", _BROKEN)
                failure = self._parse_failure(body)
                if failure.code == "crashed":
                    raise RuntimeError(f"the set-up of a worker, {self._settings.setup}, crashed:\n{failure.detail}")
                raise ConfigError(f"the set-up of a worker, {self._settings.setup}, failed: {failure.detail}")

    def _watch(
        self, process: WorkerProcess, deadline_s: float, timeout_s: float, is_over: Callable[[], bool]
    ) -> list[tuple[Kind, bytes]]:
        """Return the frames of at most one tick, or none. Raise WorkerDied or Stopped instead of waiting in vain."""
        if is_over():
            raise Stopped
        if time.monotonic() > self._next_weighing_s:  # also of a worker that never stops talking
            self._next_weighing_s = time.monotonic() + TICK_S
            if process.weigh() > self._settings.memory_bytes:
                raise self._loss("memory", f"more than {self._settings.memory_bytes} bytes resident")
        heard = process.exchange(min(TICK_S, deadline_s - time.monotonic()))
        is_dead = not heard and (process.ended or not process.is_alive())
        if is_dead:
            heard = process.exchange(0)  # what it said before it died comes first
        frames = self._without_lines(heard, process.take_lines())
        if frames:
            return frames
        if process.is_broken:
            raise self._loss("worker_killed", _BROKEN)
        if is_dead:
            raise self._loss("worker_killed", "")
        if time.monotonic() > deadline_s:
            raise self._loss("timeout", f"no report for {timeout_s:g} s")
        return frames

    def _without_lines(
        self, frames: Iterable[tuple[Kind, bytes]], output: Iterable[tuple[str, str]]
    ) -> list[tuple[Kind, bytes]]:
        """Pass the lines for the log on, with the part that each was said in, and return the other frames."""
        rest: list[tuple[Kind, bytes]] = []
        part = self._part
        for kind, body in frames:
            if kind is Kind.LOG:
                self._ear.hear(parse_line(body, part))
                continue
            if kind is Kind.PART:
                part = _name_of(body)
            rest.append((kind, body))
        for said_in, text in output:
            self._ear.hear(SaidLine(level=logging.WARNING, origin=OUTPUT, text=text, part=said_in))
        return rest

    def _parse_failure(self, body: bytes) -> WorkFailure:
        """Return the failure that a worker describes; what it says is data, whatever it is."""
        try:
            parts = json.loads(body)
            return WorkFailure(code=str(parts["code"]), detail=str(parts["detail"]), part=str(parts["part"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._loss("worker_killed", _BROKEN) from error

    def _loss(self, code: str, detail: str) -> WorkerDied:
        """End the worker and hear its last words: the part that it reported last bears the blame."""
        killed = False
        if self._process is not None:
            exit_code = self._process.kill()
            killed = exit_code == -signal.SIGKILL and not detail  # it was gone before we sent ours
            heard = self._process.last_words()
            for kind, body in self._without_lines(heard, ()):
                if kind is Kind.PART:
                    self._part = _name_of(body)
            self._without_lines([], self._process.take_lines())
            detail = detail or _describe(exit_code)
        self.end()
        return WorkerDied(code, detail, killed)


class _Ear:
    """Takes the lines of one item, as many as are wanted, to whoever waits for it."""

    def __init__(self, item: str, emit: Callable[[Event], None]) -> None:
        self._item = item
        self._emit = emit
        # What is logged is not lost beside what a library prints.
        self._logged, self._printed = LineLimit(), LineLimit()
        self.last = ""  # line that was heard, passed on or not

    def hear(self, line: SaidLine | None) -> None:
        """Pass a line on."""
        if line is None:
            return
        self.last = printable(line.text)
        limit = self._printed if line.origin == OUTPUT else self._logged
        if limit.wants(line.part):
            self._emit(Event(item=self._item, kind="said", text=line.text, line=line))

    def tell_rest(self) -> None:
        """Say how many were not passed on."""
        if number := self._logged.num_left_out + self._printed.num_left_out:
            text = f"{counted(number, 'more line', 'were', 'was')} left out"
            line = SaidLine(level=logging.WARNING, origin="", text=text, part="")
            self._emit(Event(item=self._item, kind="said", text=text, line=line))


def _describe(exit_code: int) -> str:
    if exit_code >= 0:
        return f"the worker ended with exit code {exit_code} and without a result"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal
        name = f"signal {-exit_code}"
    return f"the worker was killed by {name}"


def _name_of(body: bytes) -> str:
    return body.decode("utf-8", "replace")
