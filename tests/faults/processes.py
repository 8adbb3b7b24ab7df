"""The processes of a house: which flow run each belongs to, whom a blow can hit, and who stayed behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

TOKEN_VARIABLE = "MMPIPE_FAULT_HOUSE"
FLOW_VARIABLE = "PREFECT__FLOW_RUN_ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A living process, as /proc shows it."""

    pid: int
    parent: int
    command: str
    folder: str
    environment: dict[str, str]

    @property
    def flow_run(self) -> str:
        """Return the id of the flow run it works for; none for a service."""
        return self.environment.get(FLOW_VARIABLE, "")

    def __str__(self) -> str:
        run = f" of run {self.flow_run}" if self.flow_run else ""
        return f"{self.pid} (parent {self.parent}){run}: {self.command[:120]}"


def house_processes(token: str, home: Path) -> tuple[Process, ...]:
    """Return what carries the token, and what was stripped of its environment but works in the home."""
    numbers = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    found = [process for process in map(read_process, numbers) if process]
    return tuple(process for process in found if _belongs(process, token, home))


def read_process(pid: int) -> Process | None:
    """Read a process; none where it is gone, a zombie or somebody else's."""
    folder = Path("/proc") / str(pid)
    try:
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        if state in "ZX":
            return None
        return Process(
            pid=pid,
            parent=int(parent),
            command=(folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip(),
            folder=os.readlink(folder / "cwd"),
            environment=_environment((folder / "environ").read_bytes()),
        )
    except OSError:
        return None


def flows_and_children(processes: Iterable[Process]) -> tuple[list[Process], list[Process]]:
    """Return the processes that execute flows, and those that work for them: a child's parent is of the same run."""
    by_pid = {process.pid: process for process in processes}
    flows: list[Process] = []
    children: list[Process] = []
    for process in by_pid.values():
        parent = by_pid.get(process.parent)
        if process.flow_run:
            (children if parent and parent.flow_run == process.flow_run else flows).append(process)
    return flows, children


def strays(processes: Iterable[Process], services: Collection[int], living_runs: Collection[str]) -> list[Process]:
    """Return who should not be there: workers of a run that has ended, and who descends from no service."""
    by_pid = {process.pid: process for process in processes}
    return [
        process
        for process in by_pid.values()
        if (process.flow_run and process.flow_run not in living_runs)
        or (not process.flow_run and not _descends(process, by_pid, services))
    ]


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; say whether there was somebody to get it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _belongs(process: Process, token: str, home: Path) -> bool:
    if process.environment:
        return process.environment.get(TOKEN_VARIABLE) == token
    return process.folder.startswith(str(home))


def _descends(process: Process, by_pid: dict[int, Process], services: Collection[int]) -> bool:
    """Say whether a process is a service or has one among its ancestors."""
    current: Process | None = process
    while current and current.pid not in services:
        current = by_pid.get(current.parent)
    return current is not None


def _environment(block: bytes) -> dict[str, str]:
    pairs = (entry.decode(errors="replace").partition("=") for entry in block.split(b"\0") if b"=" in entry)
    return {name: value for name, _, value in pairs}
