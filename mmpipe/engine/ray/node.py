"""What must be the same on every node of a cluster, or a shard's bytes would depend on where it was made."""

from __future__ import annotations

import hashlib
import platform
import socket
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmpipe.engine.call import find_function
from mmpipe.errors import MmpipeError

# What decodes, computes and writes. The part after "+" only names a build: one cluster may have CPU and GPU nodes.
_PACKAGES = ("av", "numpy", "pyarrow", "torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """A node as an actor on it sees it."""

    host: str
    python: str  # major.minor
    machine: str  # x86_64, aarch64, ...
    code: str  # digest of mmpipe's own source files
    packages: tuple[tuple[str, str], ...]
    fault: str = ""  # what the node check found wrong

    def differences(self, other: NodeReport) -> tuple[str, ...]:
        """Say in which ways another node is not like this one."""
        mine, theirs = dict(self.packages), dict(other.packages)
        told = [
            (f"Python {self.python}", f"Python {other.python}"),
            (self.machine, other.machine),
            (f"mmpipe {self.code}", f"mmpipe {other.code}"),
            *((f"{name} {mine[name]}", f"{name} {theirs[name]}") for name in mine),
        ]
        return tuple(f"{there} where this process has {here}" for here, there in told if here != there)


def report_node(check: str, payload: bytes) -> NodeReport:
    """Look at this node; `check` names a function(payload) that raises an MmpipeError at what is wrong, or is empty."""
    fault = ""
    if check:
        try:
            find_function(check)(payload)
        except MmpipeError as error:
            fault = str(error)
    return NodeReport(
        host=socket.gethostname(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        machine=platform.machine(),
        code=_code_digest(),
        packages=tuple((name, _version(name)) for name in _PACKAGES),
        fault=fault,
    )


@cache
def _code_digest() -> str:
    """Return a digest of this mmpipe's source: its version alone does not tell two checkouts apart."""
    folder = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "(not installed)"
