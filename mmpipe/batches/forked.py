"""What a forked DataLoader worker leaves to its parent: services whose threads did not come along."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

# A flow run keeps threads that send logs and events. A fork copies their hooks for the end of the interpreter, not the
# threads: at its end the worker would wait for them, fail, and take the whole DataLoader along.
_LEFT_TO_THE_PARENT = "prefect."
_LOADED_IN = os.getpid()


def leave_parents_services() -> None:
    """Forget, in a fork, what a flow run of its parent registered for the end of the process; anything else stays."""
    hooks = getattr(threading, "_threading_atexits", None)
    if os.getpid() != _LOADED_IN and isinstance(hooks, list):
        hooks[:] = without_services(hooks)


def without_services(hooks: Iterable[object]) -> list[object]:
    """Return the hooks that are no service's: threading keeps them as partials of bound methods."""
    owners = ((hook, getattr(getattr(hook, "func", hook), "__self__", None)) for hook in hooks)
    return [hook for hook, owner in owners if not _is_a_service(type(owner))]


def _is_a_service(kind: type) -> bool:
    return any(base.__module__.startswith(_LEFT_TO_THE_PARENT) for base in kind.__mro__)
