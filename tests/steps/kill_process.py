"""Start a night in a process of its own, kill it or a worker of it, and see that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

CHILD = Path(__file__).with_name("kill_child.py")
KILLED = -signal.SIGKILL
_TOKEN = "MMPIPE_TEST_TOKEN"


class Child:
    """One run of a job; its environment carries a token by which its workers are found."""

    def __init__(
        self,
        job: str,
        config: Path,
        fault: str = "",
        environment: dict[str, str] | None = None,
        barrier: Path | None = None,
        cwd: Path | None = None,
        umask: int = -1,
    ) -> None:
        self.token = uuid.uuid4().hex
        wanted = {**os.environ, **(environment or {}), _TOKEN: self.token}
        if fault:
            wanted["MMPIPE_FAULT"] = fault
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), job, str(config), *([str(barrier)] if barrier else [])],
            env=wanted,
            cwd=cwd,
            umask=umask,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Wait until everything is imported."""
        assert self.process.stdout.readline() == "ready\n", self.process.stderr.read()

    def workers(self) -> list[int]:
        """Return the processes that carry the token, but the child itself."""
        return [pid for pid in _carriers(self.token) if pid != self.process.pid]

    def wait(self, timeout_s: float = 120) -> int:
        """Return how it ended, once no process of it is left."""
        _, self.error = self.process.communicate(timeout=timeout_s)
        require_gone(self.token)
        return self.process.returncode

    def kill_worker_after(self, delay_s: float) -> bool:
        """Kill one worker `delay_s` after the first one is there; say whether one could be killed."""
        self.wait_ready()
        while not (found := self.workers()):
            if self.process.poll() is not None:
                return False
            time.sleep(0.002)
        time.sleep(delay_s)
        if not (found := self.workers()):
            return False
        os.kill(found[0], signal.SIGKILL)
        return True


class Forks:
    """Jobs in forks of one process that has imported everything: a second cheaper each than a process of its own."""

    def __init__(self, *modules: str) -> None:
        self._log = Path(tempfile.mkstemp(prefix="mmpipe-forks-")[1])
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), "serve", *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, job: str, config: Path, fault: str = "", kill_after_s: float | None = None) -> int:
        """Do a job and return its exit code, or minus the signal that ended it, once no worker of it is left."""
        token = uuid.uuid4().hex
        request = {
            "job": job,
            "config": str(config),
            "environment": {_TOKEN: token, **({"MMPIPE_FAULT": fault} if fault else {})},
            "kill_after_s": kill_after_s,
            "log": str(self._log),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = json.loads(self._process.stdout.readline())
        require_gone(token)
        return code

    @property
    def error(self) -> str:
        """Return what the last job said."""
        return self._log.read_text()

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=20)
        self._log.unlink()


def require_gone(token: str, timeout_s: float = 10) -> None:
    """Wait until no process carries a token: a worker must not outlive its run."""
    give_up_s = time.monotonic() + timeout_s
    while left := _carriers(token):
        assert time.monotonic() < give_up_s, f"workers outlive their run: {left}"
        time.sleep(0.01)


def _carriers(token: str) -> list[int]:
    needle = f"{_TOKEN}={token}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and needle in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
