"""The processes that `up` starts and `down` stops: which they are, whether they live, and how they end.

Every process carries a mark of this checkout in its environment, which its children inherit. So `down` finds exactly
what `up` started, also a flow run whose worker was killed, and never a stranger that got an old process number.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK_VARIABLE = "MMPIPE_SERVICE_MARK"
_GRACE_S = 15.0
_BIRTH_S = 5.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A long-lived process of ours, and what is needed to start it again."""

    name: str
    pid: int
    mark: str
    log: str
    port: int = 0
    command: tuple[str, ...] = ()
    without: tuple[str, ...] = ()  # names of the environment that it does not get: secrets that it has no use for
    stop_signal: int = signal.SIGTERM
    decided: str = ""  # digest of what `up` decided for it


def prefect_home() -> Path:
    """Return the folder of Prefect's own files: inside the checkout unless the caller has chosen one."""
    return Path(os.environ.get("PREFECT_HOME") or ROOT / ".mmpipe" / "prefect").resolve()


def state_folder() -> Path:
    """Return the folder that says what was started, with the logs: one for each set of Prefect's files."""
    return prefect_home() / "services"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one `up`, `down` or restart work at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start_service(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    mark: str,
    port: int = 0,
    without: Sequence[str] = (),
    stop_signal: int = signal.SIGTERM,
    decided: str = "",
) -> Service:
    """Start a process in a session of its own, its output in a log, and write down what it is."""
    planned = Service(
        name=name,
        pid=0,
        mark=mark,
        log=str(folder / f"{name}.log"),
        port=port,
        command=tuple(command),
        without=tuple(without),
        stop_signal=stop_signal,
        decided=decided,
    )
    return restart_service(planned, environment, folder)


def restart_service(service: Service, environment: Mapping[str, str], folder: Path) -> Service:
    """Start the process of a service, for the first time or again, and write down which it is."""
    kept = {name: value for name, value in environment.items() if name not in service.without}
    # Not Popen: the process is to outlive us, and nobody here will wait for it.
    pid = os.posix_spawn(
        service.command[0],
        list(service.command),
        {**kept, MARK_VARIABLE: service.mark},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, service.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # What this process ignores or holds back is its own affair.
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    )
    started = replace(service, pid=pid)
    _await_mark(started)
    temporary = folder / f".{started.name}.json.tmp"
    temporary.write_text(json.dumps(asdict(started), indent=1) + "\n")
    temporary.replace(folder / f"{started.name}.json")
    return started


def read_service(folder: Path, name: str) -> Service | None:
    """Return what was started under the name, alive or not."""
    try:
        table = json.loads((folder / f"{name}.json").read_text())
        lists = {key: tuple(table[key]) for key in ("command", "without") if key in table}
        return Service(**{**table, **lists})
    except (FileNotFoundError, ValueError, TypeError):
        return None


def read_services(folder: Path) -> tuple[Service, ...]:
    """Return everything that was started, alive or not, by name."""
    found = (read_service(folder, path.stem) for path in sorted(folder.glob("[!.]*.json")))
    return tuple(service for service in found if service is not None)


def is_alive(service: Service | None) -> bool:
    """Say whether the process that was started still runs: the number alone may be a stranger's by now."""
    return service is not None and _mark_of(service.pid) == service.mark


def forget_service(folder: Path, name: str) -> None:
    """Remove what is written about a service."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def stop_service(service: Service) -> int:
    """Ask a service to end in its own way, then all that carries its mark; return how many processes there were."""
    return stop_marked(service.mark, first=service.stop_signal)


def stop_marked(mark: str, grace_s: float = _GRACE_S, first: int = signal.SIGTERM) -> int:
    """Ask every process with the mark to end, then make it; return how many there were."""
    found = marked_processes(mark)
    _signal_all(found, mark, first)
    deadline = time.monotonic() + grace_s
    while not _all_gone(mark) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    deadline = time.monotonic() + grace_s
    while not _all_gone(mark) and time.monotonic() < deadline:  # again, for what was born meanwhile
        _signal_all(marked_processes(mark), mark, signal.SIGKILL)
    return len(found)


def marked_processes(mark: str) -> tuple[int, ...]:
    """Return the living processes that carry the mark."""
    numbers = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return tuple(sorted(pid for pid in numbers if _mark_of(pid) == mark))


def _all_gone(mark: str) -> bool:
    """Look twice: a process that is just being born shows no environment for a moment."""
    if marked_processes(mark):
        return False
    time.sleep(_LOOK_S)
    return not marked_processes(mark)


def _await_mark(service: Service) -> None:
    """Wait until a new process shows its environment; one that never does has ended."""
    deadline = time.monotonic() + _BIRTH_S
    while not is_alive(service) and time.monotonic() < deadline:
        time.sleep(0.01)


def _signal_all(pids: Sequence[int], mark: str, number: int) -> None:
    for pid in pids:
        if _mark_of(pid) != mark:
            continue
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _mark_of(pid: int) -> str | None:
    """Return the mark in a process's environment; none for a stranger, a zombie or nobody."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    prefix = f"{MARK_VARIABLE}=".encode()
    return next((entry.removeprefix(prefix).decode() for entry in entries if entry.startswith(prefix)), None)
