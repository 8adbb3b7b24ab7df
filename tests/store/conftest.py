"""What the store's tests share: a folder where fsync is cheap, the content of a store, processes to kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
NOT_CONTENT = ("_staging", "_runs", "_leases")


class CrashServer:
    """Jobs of a script such as `crash_child.py`, each in its own fork."""

    def __init__(self, folder: Path, script: str) -> None:
        self.log = folder / "error.txt"
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, job: str, root: Path, **request) -> int:
        """Do a job and return its exit code, or minus the signal that ended it."""
        self.log.unlink(missing_ok=True)
        line = json.dumps({"job": job, "root": str(root), "log": str(self.log), **request})
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())["code"]

    def error(self) -> str:
        """Return what the last job failed with."""
        return self.log.read_text() if self.log.exists() else ""

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: a killed process loses nothing there that a disk would keep."""
    with contextlib.ExitStack() as stack:
        memory = Path("/dev/shm")
        if memory.is_dir():
            tmp_path = Path(tempfile.mkdtemp(prefix="mmpipe-test-", dir=memory))
            stack.callback(shutil.rmtree, tmp_path)
        yield tmp_path


@pytest.fixture(scope="module")
def crash_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashServer]:
    """Return a process that does jobs on shards in forks."""
    with contextlib.closing(CrashServer(tmp_path_factory.mktemp("crash"), "crash_child.py")) as server:
        yield server


@pytest.fixture(scope="module")
def ingest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashServer]:
    """Return a process that does jobs on tables in forks."""
    with contextlib.closing(CrashServer(tmp_path_factory.mktemp("ingest"), "ingest_child.py")) as server:
        yield server


@pytest.fixture(scope="session")
def tree_digest() -> Callable[[Path], dict[str, str]]:
    """Return a function that gives the content of a store: the sha256 of every file but unfinished work and runs."""

    def digest(root: Path) -> dict[str, str]:
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.relative_to(root).parts[0] not in NOT_CONTENT
        }

    return digest
