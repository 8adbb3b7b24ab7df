"""One worker process as its parent sees it: started, spoken to, weighed, ended."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

from mmpipe.engine.frames import FrameBuffer, Kind, pack
from mmpipe.engine.tree import ProcessId, descendants, kill_process, resident_bytes
from mmpipe.engine.worker_log import OFF, LineCutter

# Not multiprocessing: it would import the caller's __main__ again, leave a tracker process behind, and give every child
# the environment of the parent. -P keeps the current folder off the path until the parent's own path is in place.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from mmpipe.engine.worker import main; main(*map(int, sys.argv[2:5]), sys.argv[5])"
)
_RECEIVE_BYTES = 1 << 18
_MOST_READINGS = 64  # in a row: a thread of the worker may print for ever
_MOST_LINES = 1000  # of one reading: who prints without end must not fill our memory
# Workers are many, so each computes in one thread; a fixed hash seed keeps the order of sets out of the results.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
}


class WorkerProcess:
    """A running worker in a session of its own; use it from one thread, which must live as long as it.

    (The kernel ties "die with the parent" to the thread that started the child.)
    """

    def __init__(self, log_file: Path | None, stop_descriptor: int, log_level: int = OFF) -> None:
        self._socket, theirs = socket.socketpair()
        self._output, said = (-1, -1) if log_file or log_level >= OFF else os.pipe()
        token = uuid.uuid4().hex if said >= 0 else ""
        try:
            with theirs:
                self._process = _start(theirs.fileno(), log_file, said, log_level, token)
        finally:
            if said >= 0:
                os.close(said)
        self._cutter = LineCutter(token)
        self._lines: list[tuple[str, str]] = []
        self._socket.setblocking(False)
        self._buffer = FrameBuffer()
        self._outbox = memoryview(b"")
        self._tree: tuple[ProcessId, ...] = ()
        self._poll = select.poll()
        self._poll.register(stop_descriptor, select.POLLIN)  # never read: once set, no wait blocks again
        if self._output >= 0:
            os.set_blocking(self._output, False)
            self._poll.register(self._output, select.POLLIN)
        self.ended = False  # it closed its side, or died

    @property
    def pid(self) -> int:
        """Return the process id, also that of its group and session."""
        return self._process.pid

    @property
    def is_broken(self) -> bool:
        """Return whether it said something that is no frame."""
        return self._buffer.is_broken

    def post(self, kind: Kind, body: bytes) -> None:
        """Queue a frame; `exchange` sends it."""
        self._outbox = memoryview(bytes(self._outbox) + pack(kind, body))

    def exchange(self, timeout_s: float) -> list[tuple[Kind, bytes]]:
        """Send what is queued and return the frames that came, waiting no longer than it takes for either."""
        self._poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        frames: list[tuple[Kind, bytes]] = []
        for descriptor, happened in self._poll.poll(max(0, timeout_s * 1000)):
            if descriptor == self._output:
                self._hear_output()
                continue
            if descriptor != self._socket.fileno():
                continue
            try:
                if happened & select.POLLOUT:
                    self._outbox = self._outbox[self._socket.send(self._outbox) :]
                if happened & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    data = self._socket.recv(_RECEIVE_BYTES)
                    self.ended = not data
                    frames.extend(self._buffer.feed(data))
            except (BrokenPipeError, ConnectionResetError):
                self.ended = True
        return frames

    def take_lines(self, *, to_end: bool = False) -> list[tuple[str, str]]:
        """Return the lines of standard output and error that came since the last call, each behind its part.

        `to_end`: with all that was said before the frames that were read.
        """
        for _ in range(_MOST_READINGS if to_end and self._output >= 0 else 0):
            if not self._hear_output():
                break
        lines, self._lines = self._lines, []
        return [*lines, *self._cutter.rest()] if to_end else lines

    def is_alive(self) -> bool:
        """Return whether the process runs, without reaping it: until `kill`, nobody else can get its number."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def weigh(self) -> int:
        """Return the resident bytes of the process and all below it, and remember those for `kill`."""
        self._tree = descendants(self.pid)
        return resident_bytes(self.pid) + sum(resident_bytes(process.pid) for process in self._tree)

    def kill(self) -> int:
        """Kill the process, its group and all below it; return its exit code, negative for a signal."""
        below = {*self._tree, *descendants(self.pid)}
        with suppress(ProcessLookupError, PermissionError):  # it is gone already
            os.killpg(self.pid, signal.SIGKILL)
        for process in below:
            kill_process(process)
        return self._process.wait()

    def last_words(self) -> list[tuple[Kind, bytes]]:
        """Return the frames that a killed process sent and nobody read; its last lines wait for `take_lines`."""
        while self._output >= 0 and self._hear_output():
            pass
        self._lines += self._cutter.rest()
        frames: list[tuple[Kind, bytes]] = []
        with suppress(BlockingIOError, ConnectionResetError):
            while data := self._socket.recv(_RECEIVE_BYTES):
                frames.extend(self._buffer.feed(data))
        return frames

    def end(self) -> None:
        """Leave nothing of the process."""
        if self._process.returncode is None:
            self.kill()
        self._socket.close()
        self._close_output()

    def _hear_output(self) -> bool:
        """Take what came over standard output and error; say whether more may wait."""
        try:
            data = os.read(self._output, _RECEIVE_BYTES)
        except BlockingIOError:
            return False
        if not data:  # everybody closed it: a poll would never wait again
            self._close_output()
            return False
        self._lines += self._cutter.feed(data)[:_MOST_LINES]
        return True

    def _close_output(self) -> None:
        if self._output >= 0:
            self._poll.unregister(self._output)
            os.close(self._output)
            self._output = -1


def _start(descriptor: int, log_file: Path | None, output: int, log_level: int, token: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-X", "faulthandler", "-c", _BOOT, json.dumps(sys.path)]
    command += [str(descriptor), str(os.getpid()), str(log_level), token]
    with open(log_file or os.devnull, "ab") as log:
        said = output if output >= 0 else log
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **ENVIRONMENT},
            pass_fds=(descriptor,),
            start_new_session=True,
        )
