"""Which of a machine's devices a decode worker uses: the first free seat, so that devices have equally many workers."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from mmpipe.errors import ConfigError, TransientError

_LIST = "devices.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceName:
    """A device as people and encoders call it."""

    device: str  # as the config names it: "cuda:1"
    name: str  # what it is: "NVIDIA H100 80GB HBM3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A place at a device; it is free again when the descriptor is closed, by whatever end."""

    device: int
    descriptor: int
    path: str  # of the socket

    def leave(self) -> None:
        """Give the place to somebody else."""
        os.close(self.descriptor)


def write_devices(folder: Path, devices: tuple[DeviceName, ...]) -> None:
    """Say in the folder of the sockets which devices there are."""
    (folder / _LIST).write_text(json.dumps([asdict(device) for device in devices]))


def read_devices(folder: Path) -> tuple[DeviceName, ...]:
    """Return the devices whose processes are met in a folder; raise TransientError where it is gone."""
    try:
        return tuple(DeviceName(**entry) for entry in json.loads((folder / _LIST).read_text()))
    except OSError as error:
        raise TransientError(f"the run that owned the devices at {folder} is over: {error}") from error


def socket_path(folder: Path, device: int) -> Path:
    """Return where the process of a device listens."""
    return folder / f"{device}.socket"


def give_up(folder: Path, device: int, kind: str, detail: str) -> None:
    """Say that a device has no process any more, and why; `kind` names an error class."""
    part = folder / f"{device}.gone.part"
    part.write_text(json.dumps({"kind": kind, "detail": detail}))
    part.rename(folder / f"{device}.gone")


def take_seat(folder: Path) -> Seat:
    """Take the first free seat at a device that lives; raise TransientError or ConfigError where none does."""
    devices = read_devices(folder)
    alive = [number for number in range(len(devices)) if not (folder / f"{number}.gone").exists()]
    if not alive:
        raise _why_gone(folder, devices)
    for number in count():
        device = alive[number % len(alive)]
        place = folder / f"seat-{device}-{number // len(alive)}"
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return Seat(device=device, descriptor=descriptor, path=str(socket_path(folder, device)))
    raise AssertionError("count() does not end")


def _why_gone(folder: Path, devices: tuple[DeviceName, ...]) -> TransientError | ConfigError:
    said = [json.loads((folder / f"{number}.gone").read_text()) for number in range(len(devices))]
    text = "; ".join(f"{device.device}: {one['detail']}" for device, one in zip(devices, said, strict=True))
    if said and all(one["kind"] == "ConfigError" for one in said):
        return ConfigError(f"no device can be used: {text}")
    return TransientError(f"no device's process is left: {text}")
