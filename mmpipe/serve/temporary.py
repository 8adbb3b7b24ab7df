"""Folders for what strangers sent: gone with the process that made them, or else with the next one that starts."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

_NAME = re.compile(r"mmpipe-(?:serve|asked)-[0-9]+-\w+")
_YOUNG_S = 60.0  # so long its maker may not have locked it yet


class OwnFolder:
    """A folder that is locked while its process lives: the kernel lets the lock go however the process ends."""

    def __init__(self, what: str, root: Path | None = None) -> None:
        """Make one below `root` (none: where temporary files lie), after those of dead processes are swept away."""
        folder = root or Path(tempfile.gettempdir())
        sweep(folder)
        self.path = Path(tempfile.mkdtemp(prefix=f"mmpipe-{what}-{os.getpid()}-", dir=folder))
        self._descriptor = _lock(self.path)

    def cleanup(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)  # a worker that is being killed may still hold a file of it
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Path:
        """Return where it is."""
        return self.path

    def __exit__(self, *error: object) -> None:
        """Remove it."""
        self.cleanup()


def sweep(root: Path) -> None:
    """Remove this user's folders of processes that were killed; nothing else, and no link is followed."""
    for entry in os.scandir(root):
        if not _NAME.fullmatch(entry.name) or not _is_ours(entry):
            continue
        descriptor = _lock(Path(entry.path))
        if descriptor >= 0:
            shutil.rmtree(entry.path, ignore_errors=True)
            os.close(descriptor)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
        is_young = time.time() - status.st_mtime < _YOUNG_S
        return entry.is_dir(follow_symlinks=False) and status.st_uid == os.geteuid() and not is_young
    except FileNotFoundError:
        return False  # another start swept it


def _lock(folder: Path) -> int:
    """Return the descriptor of a lock on a folder, -1 where somebody has it or there can be none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return -1
    return descriptor
