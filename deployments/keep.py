"""Keep what `up` started alive: a server, worker, desk or database that died is started again, later each time."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployments.services import Service, is_alive, read_services, restart_service, state_folder

NAME = "keeper"
# What comes first is what others need.
ORDER = ("postgres", "server", "worker", "recover", "desk")
_LOOK_S = 0.5
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LOG_BYTES = 64 << 20
_STEADY_S = 120.0  # who lived so long is not in a loop of deaths


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """When a service was started again, and how often in a row; times of a monotonic clock."""

    number: int
    born_s: float


def deaths_in_row(last: Life | None, now_s: float) -> int:
    """Return how many deaths in a row the one of now makes; after a steady life it is the first again."""
    return last.number + 1 if last and now_s - last.born_s <= _STEADY_S else 1


def pause_s(number: int) -> float:
    """Return how long to wait after so many deaths in a row."""
    return min(_FIRST_PAUSE_S * 2.0 ** min(number - 1, 30), _LONGEST_PAUSE_S)


class Keeper:
    """Looks at the services of a folder, again and again."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._lives: dict[str, Life] = {}
        self._due_s: dict[str, float] = {}  # of those that are dead

    def look(self, now_s: float) -> tuple[str, ...]:
        """Start what is dead and has waited long enough; return the names."""
        started = []
        with _alone_now(self._folder) as is_alone:
            # `up` or `down` is at work: what is dead now may be meant to be.
            for service in sorted(read_services(self._folder), key=_turn) if is_alone else ():
                if service.name != NAME and self._is_due(service, now_s):
                    restart_service(service, self._environment, self._folder)
                    started.append(service.name)
        return tuple(started)

    def _is_due(self, service: Service, now_s: float) -> bool:
        name = service.name
        if is_alive(service):
            self._due_s.pop(name, None)
            return False
        number = deaths_in_row(self._lives.get(name), now_s)
        if now_s < self._due_s.setdefault(name, now_s + pause_s(number)):
            return False
        del self._due_s[name]
        self._lives[name] = Life(number=number, born_s=now_s)
        return True


def main() -> int:
    """Look until somebody ends us."""
    folder = state_folder()
    (folder / f"{NAME}.pid").write_text(f"{os.getpid()}\n")
    keeper = Keeper(folder, os.environ)
    while True:
        for name in keeper.look(time.monotonic()):
            print(f"keeper: {time.strftime('%F %T')} started the {name} again", flush=True)  # noqa: T201
        cut_logs(folder)
        _bury_children()
        time.sleep(_LOOK_S)


def cut_logs(folder: Path, most_bytes: int = _LOG_BYTES) -> None:
    """Put a log that has grown too long aside, over the one before; those who write append, and go on."""
    for log in folder.glob("*.log"):
        if log.stat().st_size > most_bytes:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


@contextmanager
def _alone_now(folder: Path) -> Iterator[bool]:
    """Say whether nobody else works on the services, and keep it so meanwhile."""
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _bury_children() -> None:
    """Take the ends of our children away: a zombie has no mark, but a place in the table of processes."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _turn(service: Service) -> int:
    kind = service.name.partition("-")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


if __name__ == "__main__":
    sys.exit(main())
