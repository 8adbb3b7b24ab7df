"""Look at the header of a safetensors file: whether all that it promises is there, without reading a weight."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mmpipe.errors import ConfigError

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000  # as the format itself allows


def require_whole(path: Path, named: str) -> None:
    """Raise ConfigError where a file is cut off or is no safetensors; `named` is what the config says of it."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            nbytes = os.fstat(file.fileno()).st_size
            header = json.loads(file.read(length)) if length <= min(nbytes, _MOST_HEADER_BYTES) else None
        promised = _promised_bytes(header, length)
    except OSError as error:
        raise ConfigError(f"{named}: {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        promised = -1
    if promised < 0:
        raise ConfigError(f"{named}: {path} does not begin as a safetensors file does. Fetch or save it again.")
    if promised != nbytes:
        raise ConfigError(
            f"{named}: {path} has {nbytes} bytes, its header promises {promised}. Fetch or save it again."
        )


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a file that is whole, by name, without reading one."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(_LENGTH_BYTES), "little")))
    try:
        return {name: tuple(map(int, entry["shape"])) for name, entry in header.items() if name != "__metadata__"}
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: its header gives no shapes of its tensors. Fetch or save it again.") from error


def _promised_bytes(header: object, length: int) -> int:
    """Return how long the file should be; below 0 where that is no header."""
    if not isinstance(header, dict):
        return -1
    ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    return _LENGTH_BYTES + length + max(ends, default=0)
