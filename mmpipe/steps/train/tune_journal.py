"""The file in which a search keeps its trials: Optuna's journal, behind a lock that the kernel frees with its process.

Optuna's own lock is a file: a process that is killed while it has it makes the next one wait for half a minute.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, cast

from mmpipe.errors import ConfigError

JOURNAL_NAME = "journal.jsonl"


class JournalLock:
    """Optuna's interface of a lock, by `flock`; who takes it removes a line that a killed process left half written."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._descriptor = -1

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._descriptor = os.open(self._journal.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        drop_half_a_line(self._journal)
        return True

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._descriptor)


def drop_half_a_line(path: Path) -> None:
    """Cut off what stands behind the last end of a line."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def open_journal(folder: Path) -> Any:
    """Return Optuna's storage over the journal of a folder."""
    optuna = require_optuna()
    path = folder / JOURNAL_NAME
    backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=cast(Any, JournalLock(path)))
    return optuna.storages.JournalStorage(backend)


def require_optuna() -> Any:
    """Return the package Optuna, which says warnings only; refuse to go on without it."""
    try:
        import optuna
        import optuna.storages.journal
    except ModuleNotFoundError as error:
        raise ConfigError("a search needs Optuna. Run: pip install 'mmpipe[hpo]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
