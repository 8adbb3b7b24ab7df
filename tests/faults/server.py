"""A Prefect server of a test's own, that can be killed, started again, and have its database locked."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HOST = "127.0.0.1"
_START_S = 180.0


class Server:
    """A server on SQLite in a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._log = folder / "server.log"
        self._process = self._start()
        self._await_health()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the server, without anything of the caller's Prefect."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MMPIPE"))}
        quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING"}
        return {**kept, **quiet, "PREFECT_HOME": str(self.folder), "DO_NOT_TRACK": "1"}

    def client_environment(self, port: int) -> dict[str, str]:
        """Return the environment of a client that reaches the server at a port, its own or a proxy's."""
        return {**self.environment, "PREFECT_API_URL": f"http://{HOST}:{port}/api"}

    def restart(self) -> None:
        """Kill the server and start it again, at the same port over the same database."""
        self.kill()
        self._process = self._start()
        self._await_health()

    def kill(self) -> None:
        """End the server at once."""
        self._process.kill()
        self._process.wait()

    def lock_database(self, seconds: float) -> threading.Thread:
        """Keep everybody else from writing for so long; the lock holds when this returns."""
        taken = threading.Event()
        holder = threading.Thread(target=_hold, args=(self.folder / "prefect.db", seconds, taken))
        holder.start()
        taken.wait()
        return holder

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(self.port)]
        with open(self._log, "ab") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def _await_health(self) -> None:
        give_up_s = time.monotonic() + _START_S
        while not self._is_healthy():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < give_up_s, self._log.read_text()
            time.sleep(0.1)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/api/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _hold(database: Path, seconds: float, taken: threading.Event) -> None:
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        taken.set()
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    finally:
        taken.set()
        connection.close()
