"""A real Ray cluster on this machine: a head and nodes that can be lost, each a raylet with processes of its own."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from mmpipe.engine.tree import descendants

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
_PR_SET_PDEATHSIG = 1
_OBJECT_STORE_BYTES = 100 << 20
_QUICK_TO_NOTICE = (
    '{"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}'
)


class RayNodes:
    """A head without room for work, and nodes with room for three workers each."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mmray-", dir="/tmp"))  # Ray's sockets allow only a short name
        self._head: subprocess.Popen[bytes] | None = None
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._number = 0
        self.address = self.client_address = ""

    def start(self) -> None:
        """Start the head and two nodes."""
        port, client_port = free_port(), free_port()
        self.address, self.client_address = f"127.0.0.1:{port}", f"ray://127.0.0.1:{client_port}"
        self._head = self._launch(
            "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}",
            f"--system-config={_QUICK_TO_NOTICE}",
            *([f"--ray-client-server-port={client_port}"] if find_spec("grpc") else []),
        )  # fmt: skip
        self._await(self._head, 0)
        for _ in range(2):
            self.add()

    def add(self) -> str:
        """Start a node; return its name, which is also a resource of it."""
        self._number += 1
        name = f"node{self._number}"
        self._nodes[name] = self._launch(
            f"--address={self.address}", "--num-cpus=3", f'--resources={{"{name}": 1}}'
        )  # fmt: skip
        self._await(self._nodes[name], self._number)
        return name

    def _await(self, process: subprocess.Popen[bytes], number: int) -> None:
        """Return when a node says that it runs: only then can it be counted on, and others join it."""
        log = self.folder / f"start{number}.log"
        wait_until(lambda: "Ray runtime started" in log.read_text() or process.poll() is not None, 90)
        assert process.poll() is None, log.read_text()

    def lose(self, pid: int) -> None:
        """Kill the node that a process runs on, as the loss of a spot machine does."""
        above = set(ancestors(pid))
        (name,) = [name for name, node in self._nodes.items() if node.pid in above]
        _kill(self._nodes.pop(name))

    def stop(self) -> None:
        """Leave nothing of it."""
        for process in [*self._nodes.values(), *([self._head] if self._head else [])]:
            _kill(process)
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def _launch(self, *options: str) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1",
            f"--object-store-memory={_OBJECT_STORE_BYTES}", "--min-worker-port=0", "--max-worker-port=0",
            "--dashboard-agent-listen-port=0", "--include-log-monitor=false", "--disable-usage-stats", *options,
        ]  # fmt: skip
        with open(self.folder / f"start{self._number}.log", "wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{HERE}"},  # what an image has installed
                start_new_session=True,
                preexec_fn=_end_with_us,
            )


def ancestors(pid: int) -> list[int]:
    """Return a process and those above it, up to the one that was started from here."""
    found = []
    while pid > 1 and pid != os.getpid():
        found.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def ray_processes() -> set[int]:
    """Return the Ray processes below this one."""
    found = set()
    for process in descendants(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            if b"ray::" in command or b"/ray/" in command:
                found.add(process.pid)
    return found


def is_alive(pid: int) -> bool:
    """Say whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true: Callable[[], bool], limit_s: float = 30) -> None:
    """Return once it is true."""
    deadline_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Say whether somebody listens."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def _end_with_us() -> None:
    """Have a node end when the tests are killed: at SIGTERM it ends all that it started."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a node and all that it started, at once."""
    for pid in (process.pid, *(each.pid for each in descendants(process.pid))):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
