"""The queues of the work pools: which there are, who is served first, how many runs at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deployments.api import Api
from mmpipe.config import NightConfig

CPU, GPU = "cpu", "gpu"
CORPUS_PREFIX = "corpus-"
DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue of a pool; 1 is served first, and no limit is no limit."""

    name: str
    priority: int
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueChange:
    """What must be done to one queue."""

    verb: str  # POST makes it, PATCH changes it, DELETE takes it away
    queue: Queue


def corpus_queue(corpus: str) -> str:
    """Return the name of the queue of a corpus."""
    return f"{CORPUS_PREFIX}{corpus}"


def wanted_queues(pool: str, nights: Mapping[str, NightConfig]) -> tuple[Queue, ...]:
    """Return the queues of a pool, first served first.

    The server knows no equal priorities within a pool: the corpora stand in the order of theirs, then of their names.
    What waits for others (nights, backfills) has queues without a limit: a limit there could keep a run from the
    slot that its own children wait for. A backfill is served last: it must not stand before the night.
    """
    corpora = sorted(nights, key=lambda name: (nights[name].priority, name))
    limits: dict[str, int | None] = {DEFAULT: None}
    if pool == CPU:
        limits["nights"] = None
    limits |= {corpus_queue(name): nights[name].max_runs for name in corpora}
    if pool == CPU:
        limits["backfill"] = None
    return tuple(Queue(name=name, priority=place, limit=limits[name]) for place, name in enumerate(limits, start=1))


def queue_changes(found: Iterable[Queue], wanted: Iterable[Queue]) -> tuple[QueueChange, ...]:
    """Return what makes the one of the other; queues that people made themselves stay, behind ours.

    In the order of the priorities: the server moves on whoever stands where another is put.
    """
    there, listed = {queue.name: queue for queue in found}, sorted(wanted, key=lambda queue: queue.priority)
    names = {queue.name for queue in listed}
    gone = [queue for name, queue in there.items() if name.startswith(CORPUS_PREFIX) and name not in names]
    changes = [QueueChange(verb="DELETE", queue=queue) for queue in gone]
    places = {name: queue.priority for name, queue in there.items()}
    for queue in listed:
        if queue.name not in there:
            changes.append(QueueChange(verb="POST", queue=queue))
        elif places[queue.name] != queue.priority or there[queue.name].limit != queue.limit:
            changes.append(QueueChange(verb="PATCH", queue=queue))
        else:
            continue
        places = _moved(places, queue)
    return tuple(changes)


def apply_queues(api: Api, pool: str, nights: Mapping[str, NightConfig]) -> tuple[QueueChange, ...]:
    """Make the queues of a pool what they must be; return what was done, the second time nothing."""
    rows = api.ask("POST", f"/work_pools/{pool}/queues/filter", {"limit": 200}) or []
    found = [Queue(name=row["name"], priority=row["priority"], limit=row["concurrency_limit"]) for row in rows]
    changes = queue_changes(found, wanted_queues(pool, nights))
    for change in changes:
        body = {"priority": change.queue.priority, "concurrency_limit": change.queue.limit}
        path = f"/work_pools/{pool}/queues"
        if change.verb == "POST":
            api.ask("POST", path, {"name": change.queue.name, **body})
        else:
            api.ask(change.verb, f"{path}/{change.queue.name}", body if change.verb == "PATCH" else None)
    return changes


def _moved(places: Mapping[str, int], queue: Queue) -> dict[str, int]:
    """Return the places after the server has put a queue at its own: who stands there steps on, and so forth."""
    moved, last = {queue.name: queue.priority}, queue.priority
    others = sorted((place, name) for name, place in places.items() if name != queue.name)
    for place, name in others:
        last = max(place, last + 1) if place >= queue.priority else last
        moved[name] = last if place >= queue.priority else place
    return moved
