"""Take from a worker process what reading media does not need: the network, core dumps, outliving its parent."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_MOST_FILES = 1024
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_OUT_OF_MEMORY_SCORE = "500"  # of 1000: the kernel takes a worker before it takes what supervises it


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What the machine let us take away."""

    network_off: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What a process sees of its own confinement."""

    network_off: bool
    core_bytes: int
    open_files: int
    dies_with_parent: bool
    no_new_privileges: bool

    def faults(self) -> tuple[str, ...]:
        """Name what should be in force and is not; a system may forbid to take the network away."""
        wrong = {
            "core dumps are on": self.core_bytes != 0,
            "the number of open files is unlimited": not 0 < self.open_files <= _MOST_FILES,
            "it would outlive its parent": not self.dies_with_parent,
            "it could gain privileges": not self.no_new_privileges,
        }
        return tuple(fault for fault, is_wrong in wrong.items() if is_wrong)


def limit_process(*, open_files: int = _MOST_FILES, die_with_parent: bool = True) -> Confinement:
    """Confine this process; call it once in a worker, before threads are started, and never in a parent.

    Memory is the supervisor's to watch: under RLIMIT_AS FFmpeg was seen to end well with no output.
    `die_with_parent` kills this process when the *thread* that started it ends, not only the parent process.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = open_files if hard == resource.RLIM_INFINITY else min(open_files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, ceiling))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_SCORE)
    libc = ctypes.CDLL(None, use_errno=True)
    if die_with_parent:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    confinement = _drop_network(libc)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # after the name spaces: root may need its rights for those
    return confinement


def observe_process() -> InForce:
    """Ask the system what is in force in this process: what was set is not believed, it is read back."""
    libc = ctypes.CDLL(None, use_errno=True)
    on_death = ctypes.c_int(0)
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(on_death), 0, 0, 0)
    return InForce(
        network_off=_has_no_network(),
        core_bytes=resource.getrlimit(resource.RLIMIT_CORE)[1],
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        dies_with_parent=on_death.value == signal.SIGKILL,
        no_new_privileges=libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
    )


def _has_no_network() -> bool:
    """Say whether this process's network has no address, not even the machine's own: so no packet can leave.

    It is read, not tried: a worker that connects to anything should be seen as what it is.
    """
    try:
        tables = [Path("/proc/self/net", name) for name in ("fib_trie", "if_inet6")]
        return not any(table.read_text().strip() for table in tables if table.exists()) and tables[0].exists()
    except OSError:
        return False


def _drop_network(libc: ctypes.CDLL) -> Confinement:
    """Move into a network of one's own with nothing in it; pipes and open sockets live on."""
    if libc.unshare(_CLONE_NEWNET) == 0:
        return Confinement(network_off=True, detail="own network name space")
    refused = errno.errorcode.get(ctypes.get_errno(), "?")
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        _keep_identity(user, group)
        return Confinement(network_off=True, detail="own user and network name space")
    refused_user = errno.errorcode.get(ctypes.get_errno(), "?")
    return Confinement(network_off=False, detail=f"unshare: {refused}; with a user name space: {refused_user}")


def _keep_identity(user: int, group: int) -> None:
    """Map this user onto itself, or every file that is written would seem to belong to nobody."""
    with suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
