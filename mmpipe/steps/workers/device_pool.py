"""The devices of a run: one encoder process each, shared by the tasks of this process, for all local workers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mmpipe.engine.device.find import choose_gpus, find_gpus, visible_gpus
from mmpipe.engine.device.meter import DeviceMeter
from mmpipe.engine.device.process import DeviceProcesses, DeviceSpec
from mmpipe.errors import ConfigError
from mmpipe.media.confine import limit_process

OPENER = "mmpipe.steps.workers.device_client:open_encoder"
SETUP = "mmpipe.steps.workers.device_pool:set_up_device"
# So many encoder processes that compute on the CPU, where there is no GPU: the whole way of a GPU's work, for tests.
SERVE_CPU = "MMPIPE_SERVE_CPU"
_OPEN_FILES = 4096  # a connection and two blocks for every worker
_lock = threading.Lock()
_processes: DeviceProcesses | None = None
_users = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """A device and what it did, for reports."""

    device: str  # "cuda:0"
    name: str  # "NVIDIA H100 80GB HBM3"
    meter: DeviceMeter


class DevicePool:
    """The devices that a run has beside its workers; none, where workers compute themselves."""

    def __init__(self, processes: DeviceProcesses | None) -> None:
        self._processes = processes

    @property
    def address(self) -> str:
        """Return where workers meet the devices, "" where there are none: for `open_computer`."""
        return str(self._processes.folder) if self._processes else ""

    def reports(self) -> tuple[DeviceReport, ...]:
        """Return what each device did up to now; also when the pool is closed."""
        if self._processes is None:
            return ()
        pairs = zip(self._processes.devices, self._processes.meters(), strict=True)
        return tuple(DeviceReport(device=spec.device, name=spec.name, meter=meter) for spec, meter in pairs)

    def cancel(self) -> None:
        """Have the processes killed; may be called from a signal handler."""
        if self._processes is not None:
            self._processes.cancel()


@contextmanager
def shared_devices(device: str) -> Iterator[DevicePool]:
    """Enter the process's devices: the first one in starts them, the last one out leaves no process behind.

    `device` is what `[engine] device` came to: "cpu", "cuda" or "cuda:1"; the first one in decides. ConfigError: there
    is no such device.
    """
    global _processes, _users
    specs = device_specs(device)
    if not specs:
        yield DevicePool(None)
        return
    with _lock:
        if _processes is None:
            _processes = DeviceProcesses(specs, OPENER, SETUP)
        processes = _processes
        _users += 1
    try:
        yield DevicePool(processes)
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _processes = None
                processes.close()


def device_specs(device: str) -> Sequence[DeviceSpec]:
    """Return the devices that get a process of their own: the GPUs that were chosen."""
    if device == "cpu":
        count = os.environ.get(SERVE_CPU, "0")
        if not count.isdigit():
            raise ConfigError(f"{SERVE_CPU} must be a number of processes, got {count!r}")
        return [DeviceSpec(device="cpu", name=f"processor, process {number}") for number in range(int(count))]
    return choose_gpus(device, find_gpus(), visible_gpus())


def set_up_device(device: str) -> None:
    """Confine an encoder process, and have its device compute the same from run to run.

    It sees no raw bytes, only what decoders made of them, but it needs no network either.
    """
    limit_process(open_files=_OPEN_FILES)
    if not device.startswith("cuda"):
        return
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f"the process of {device} cannot use it: torch {torch.__version__} finds no GPU there")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32: TF32 keeps 10 bits of the 23
    torch.backends.cuda.matmul.allow_tf32 = False
