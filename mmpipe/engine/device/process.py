"""The process of a device as its parent keeps it: started, started again when it dies, given up when that is no use."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from mmpipe.engine.device.meter import DeviceMeter, SharedMeter
from mmpipe.engine.device.output import PrintedOutput
from mmpipe.engine.device.seat import DeviceName, give_up, socket_path, write_devices
from mmpipe.engine.device.serve import ServeSettings
from mmpipe.engine.device.wire import listen
from mmpipe.engine.process import ENVIRONMENT

START_TIMEOUT_S = 300.0  # imports of a large library on a busy machine; weights are loaded later
REQUEST_TIMEOUT_S = 900.0  # of one micro-batch, its model's loading included: longer is taken for a hang
MAX_FAILED_STARTS = 3  # in a row
MAX_IDLE_DEATHS = 16  # in a row with no request answered: finding one clip in a micro-batch takes about 10

_PREFIX = "mmpipe-devices-"
_SWEEP_S = 60.0
_LONGEST_BYTES = 64
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from mmpipe.engine.device.serve import main; main(sys.argv[2], int(sys.argv[3]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """One device: its names, and how its process sees it."""

    device: str  # in reports: "cuda:1"
    name: str  # "NVIDIA H100 80GB HBM3"
    inner: str = ""  # as its process calls it, where that is another: it sees this one alone, as "cuda:0"
    environment: Mapping[str, str] = field(default_factory=dict)


class DeviceProcesses:
    """One encoder process per device, and the folder where workers meet them; a context manager.

    `opener` and `setup` are "module:name", see `ServeSettings`. What the process of device k prints is logged as that
    of "`kind` k", in the context of who makes this: a flow run finds it in its own log.
    """

    def __init__(
        self,
        devices: Sequence[DeviceSpec],
        opener: str,
        setup: str = "",
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        kind: str = "encoder",
    ) -> None:
        self.devices = tuple(devices)
        _sweep()
        self.folder = _make_folder()
        self._lock_descriptor = _lock(self.folder)
        write_devices(self.folder, tuple(DeviceName(device=one.device, name=one.name) for one in self.devices))
        self._stop_descriptor = os.eventfd(0, os.EFD_CLOEXEC)
        self._keepers = [
            _Keeper(self, number, spec, opener, setup, request_timeout_s, kind)
            for number, spec in enumerate(self.devices)
        ]
        for keeper in self._keepers:
            keeper.start()

    @property
    def stop_descriptor(self) -> int:
        """Return what is readable as soon as all must end."""
        return self._stop_descriptor

    def meters(self) -> tuple[DeviceMeter, ...]:
        """Return the accounts of the devices up to now."""
        return tuple(keeper.meter.read() for keeper in self._keepers)

    def pids(self) -> tuple[int, ...]:
        """Return the process of every device, 0 where there is none."""
        return tuple(keeper.pid for keeper in self._keepers)

    def cancel(self) -> None:
        """Have all processes killed; may be called from a signal handler."""
        if self._stop_descriptor >= 0:
            os.eventfd_write(self._stop_descriptor, 1)

    def close(self) -> None:
        """Return when no process and no folder is left. The meters can still be read."""
        self.cancel()
        for keeper in self._keepers:
            keeper.join()
            keeper.meter.close()
        if self._stop_descriptor >= 0:
            os.close(self._stop_descriptor)
            self._stop_descriptor = -1
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock_descriptor)

    def __enter__(self) -> Self:
        """Return the processes."""
        return self

    def __exit__(self, *error: object) -> None:
        """End them."""
        self.close()


def _make_folder() -> Path:
    """Make a folder for this user alone; its path is short, because that of a socket has at most 107 bytes."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=usual if len(os.fsencode(usual)) <= _LONGEST_BYTES else "/tmp"))


def _lock(folder: Path) -> int:
    """Hold a folder for as long as this process lives; raise OSError where somebody else does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sweep() -> None:
    """Remove what runs that were killed left behind; a minute old, so that no folder is met before it is held."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, or held
            if folder.stat().st_uid == os.getuid() and time.time() - folder.stat().st_ctime > _SWEEP_S:
                descriptor = _lock(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


class _Keeper(threading.Thread):
    """Keeps the process of one device alive. A thread, because the kernel ties a child's life to that of one."""

    def __init__(
        self,
        owner: DeviceProcesses,
        number: int,
        spec: DeviceSpec,
        opener: str,
        setup: str,
        request_timeout_s: float,
        kind: str,
    ) -> None:
        super().__init__(name=f"device-{number}", daemon=True)
        self.meter = SharedMeter.create()
        self.pid = 0
        self._folder = owner.folder
        self._stop_descriptor = owner.stop_descriptor
        self._number = number
        self._spec = spec
        self._opener, self._setup = opener, setup
        self._name = f"{kind} {number} on {spec.device}"
        self._context = copy_context()  # a thread has none of its own, and logs would be nobody's
        self._request_timeout_s = request_timeout_s
        # Before any worker can come, and kept over the process's death: who connects meanwhile waits for the next one.
        self._listener = listen(str(socket_path(owner.folder, number)))

    def run(self) -> None:
        """Start process after process until there is no use in it, or the owner stops."""
        self._context.run(self._keep)

    def _keep(self) -> None:
        failed_starts, idle_deaths = 0, 0
        kind, detail = "TransientError", ""
        while failed_starts < MAX_FAILED_STARTS and idle_deaths < MAX_IDLE_DEATHS:
            answered = self.meter.read().requests
            output = PrintedOutput(self._name)
            process, status = self._start(output)
            try:
                kind, said = self._watch(process, status, output)
            finally:
                code = _kill(process)
                self.pid = 0
                output.end()
            if kind == "stopped":
                break
            if kind == "ConfigError":
                detail = said
                break
            is_started = kind == "ready"
            failed_starts = 0 if is_started else failed_starts + 1
            idle_deaths = 0 if self.meter.read().requests > answered else idle_deaths + 1
            last = f". It said at last: {output.last}" if output.last else ", and said nothing"
            kind, detail = "TransientError", said or f"its process ended with code {code}{last}"
        if kind != "stopped":
            give_up(self._folder, self._number, kind, detail)
        with suppress(OSError):
            socket_path(self._folder, self._number).unlink()
        self._listener.close()  # who waits to be accepted is refused now

    def _start(self, output: PrintedOutput) -> tuple[subprocess.Popen[bytes], int]:
        status, theirs = os.pipe()
        settings = ServeSettings(
            device=self._spec.inner or self._spec.device,
            opener=self._opener,
            setup=self._setup,
            request_timeout_s=self._request_timeout_s,
            listener=self._listener.fileno(),
            meter=self.meter.descriptor,
            status=theirs,
        )
        command = [sys.executable, "-P", "-X", "faulthandler", "-c", _BOOT]
        command += [json.dumps(sys.path), json.dumps(asdict(settings)), str(os.getpid())]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output.theirs,
                stderr=output.theirs,
                env={**os.environ, **ENVIRONMENT, **self._spec.environment},
                pass_fds=(settings.listener, settings.meter, settings.status),
                start_new_session=True,
            )
        finally:
            os.close(theirs)
            output.close_theirs()
        self.pid = process.pid
        self.meter.add(starts=1)
        return process, status

    def _watch(self, process: subprocess.Popen[bytes], status: int, output: PrintedOutput) -> tuple[str, str]:
        """Wait until the process or the owner ends; return what became of its start, or "stopped"."""
        kind, detail = "", ""
        life = os.pidfd_open(process.pid)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        try:
            poll = select.poll()
            for descriptor in (self._stop_descriptor, life, status, output.descriptor):
                poll.register(descriptor, select.POLLIN)
            while True:
                timeout_s = None if kind else max(0.0, deadline_s - time.monotonic())
                happened = {descriptor for descriptor, _ in poll.poll(timeout_s and timeout_s * 1000)}
                if self._stop_descriptor in happened:
                    return "stopped", ""
                if output.descriptor in happened and not output.hear():
                    poll.unregister(output.descriptor)  # closed by all: it would be ready for ever
                if status in happened:
                    poll.unregister(status)
                    kind, detail = _told(os.read(status, 1 << 16)) or (kind, detail)
                elif life in happened:
                    return kind, detail
                if not kind and time.monotonic() >= deadline_s:
                    return "", f"it was not ready after {START_TIMEOUT_S:g} s"
        finally:
            os.close(life)
            os.close(status)


def _told(data: bytes) -> tuple[str, str] | None:
    """Return what a process said of its start; None where it said nothing, and died."""
    if not data:
        return None
    said = json.loads(data)
    return str(said["kind"]), str(said["detail"])


def _kill(process: subprocess.Popen[bytes]) -> int:
    """Leave nothing of a process and its session; return its exit code, negative for a signal."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
