"""Faults that tests inject where a write could fail: how they make crashes happen, not imagine them.

`MMPIPE_FAULT="operation:count:action"`, where operation is one of write, fsync, link, linked, replace, unlink, mkdir,
or any; `link@receipts` means only paths with that word in them. A count of `3` means the third time, `3+` from then
on; action is `kill`, `transient`, or the name of an errno such as ENOSPC.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from pathlib import Path

from mmpipe.errors import TransientError

_counts: Counter[str] = Counter()


def fail_if_asked(operation: str, path: Path) -> None:
    """Fail here if the environment asks for it."""
    wish = os.environ.get("MMPIPE_FAULT")
    if not wish:
        return
    wanted, count, action = wish.split(":")
    name, _, word = wanted.partition("@")
    if name not in (operation, "any") or word not in str(path):
        return
    _counts[wanted] += 1
    first = int(count.removesuffix("+"))
    if _counts[wanted] < first or (_counts[wanted] > first and not count.endswith("+")):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "transient":
        raise TransientError(f"injected at {operation} of {path}")
    number = getattr(errno, action)
    raise OSError(number, os.strerror(number), str(path))
