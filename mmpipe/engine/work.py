"""What goes into an engine and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One unit of work and retry: a shard. The payload is a picklable value of importable types."""

    name: str
    payload: object
    timeout_s: float  # longest wall time from one report to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFailure:
    """Why an item has no result.

    The code is the class name of an MmpipeError that the function raised, `crashed` for any other exception (the
    detail is its traceback), or what ended the worker again and again: `worker_killed`, `timeout`, `memory`.
    """

    code: str
    detail: str
    part: str = ""  # reported last, "" if none was


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonedPart:
    """A part that ended its worker again and again, and was left out: code `worker_killed`, `timeout` or `memory`."""

    part: str
    code: str
    detail: str  # the same words on every machine and in every run: it may be stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an item: exactly one of result and failure."""

    name: str
    result: bytes | None = None
    failure: WorkFailure | None = None
    poisoned: tuple[PoisonedPart, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidLine:
    """One line that a worker process said: logged, warned or printed, by our code or anybody's."""

    level: int  # as in `logging`
    origin: str  # logger that it came from
    text: str
    part: str  # that the worker was at, "" between parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an item on its way, for progress displays and logs."""

    item: str
    kind: str  # "started" (text: process id), "part" (its name), "died" (why), "poisoned" (the part), "said"
    text: str
    line: SaidLine | None = None  # of "said"
