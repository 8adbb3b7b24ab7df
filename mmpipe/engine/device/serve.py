"""The encoder process of one device: takes micro-batches from decode workers, answers their values.

Three threads: one hears the workers, one brings the next request's media to the device, one computes. What a request
comes to does not depend on any other: each is encoded by itself.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import selectors
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from mmpipe.engine.call import find_function
from mmpipe.engine.device.media import Malformed, pack_values, unpack_media
from mmpipe.engine.device.meter import SharedMeter
from mmpipe.engine.device.models import Encoder, LoadedEncoders, StagingEncoder, is_out_of_memory, units_of
from mmpipe.engine.device.peer import Peer
from mmpipe.engine.device.queue import Job, JobQueue
from mmpipe.engine.device.wire import MAX_DETAIL_LETTERS, Answer, Closed, Fault, FaultKind, Said, Started
from mmpipe.engine.worker import die_with, offer_to_oom_killer
from mmpipe.errors import ConfigError, MmpipeError, SampleError, TransientError
from mmpipe.types import FeatureValue

# Lines of one request and their letters: a worker that decodes reads late, and the answer must fit behind them.
MOST_SAID, MOST_SAID_LETTERS = 8, 500
BROKEN_EXIT_CODE = 17  # the device does nothing any more: a process of its own is the only cure


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What an encoder process is told by its parent."""

    device: str  # as the encoders know it: "cpu", "cuda:0"
    opener: str  # "module:name": (specification) -> Encoder
    setup: str  # "module:name" called with the device before anything else, or ""
    request_timeout_s: float  # of one request, the loading of its model included
    listener: int  # descriptors
    meter: int
    status: int  # a pipe: what became of the start, as JSON


def main(settings_json: str, parent_pid: int) -> NoReturn:
    """Serve until the parent ends this process, or dies."""
    die_with(parent_pid)
    offer_to_oom_killer()
    settings = ServeSettings(**json.loads(settings_json))
    try:
        if settings.setup:
            find_function(settings.setup)(settings.device)
            die_with(parent_pid)  # again: the kernel forgets it with a change of rights
        server = Server(settings, find_function(settings.opener))
    except MmpipeError as error:
        _tell(settings.status, kind=type(error).__name__, detail=str(error))
        os._exit(1)
    except Exception:  # noqa: BLE001 - the process border: the parent says it, with this traceback
        _tell(settings.status, kind="crashed", detail=traceback.format_exc())
        os._exit(1)
    _tell(settings.status, kind="ready", detail="")
    server.run()


def _tell(descriptor: int, *, kind: str, detail: str) -> None:
    os.write(descriptor, json.dumps({"kind": kind, "detail": detail[:MAX_DETAIL_LETTERS]}).encode())


class Server:
    """The three threads and what they share."""

    def __init__(self, settings: ServeSettings, open_encoder: Callable[[str], Encoder]) -> None:
        self._settings = settings
        self._meter = SharedMeter(settings.meter)
        self._listener = socket.socket(fileno=settings.listener)
        self._queue = JobQueue(lambda spec: self._encoders.find(spec) is not None)
        self._encoders = LoadedEncoders(open_encoder, settings.device, self._meter, self._queue.nothing_staged)

        self._voice = _Voice()
        logging.getLogger().addHandler(self._voice)
        logging.captureWarnings(True)

    def run(self) -> NoReturn:
        """Serve for good. A thread that ends takes the process along: half a server would be none."""
        for body in (self._compute_all, self._stage_all):
            threading.Thread(target=_or_exit, args=(body,), daemon=True).start()
        _or_exit(self._hear_all)

    # ----------------------------------------------------------------------- hearing

    def _hear_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            self._listener.setblocking(False)
            selector.register(self._listener, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        with suppress(BlockingIOError, ConnectionAbortedError):
                            connection, _ = self._listener.accept()
                            connection.setblocking(False)
                            selector.register(connection, selectors.EVENT_READ, Peer(connection))
                    elif not self._hear(key.data):
                        selector.unregister(key.data.connection)
                        self._queue.forget(key.data)
                        key.data.close()

    def _hear(self, peer: Peer) -> bool:
        """Take one message of a worker; return whether it stays."""
        try:
            heard = peer.receive()
            if heard is not None:
                request, spec, block = heard
                media = unpack_media(block.view(0, request.nbytes))
                job = Job(
                    peer=peer, number=request.number, slot=request.slot, spec=spec, media=media, block=block,
                    nbytes=request.nbytes,
                )  # fmt: skip
                self._queue.put(job)
        except (Closed, Malformed, ValueError, OSError):
            return False
        return not peer.is_gone

    # ----------------------------------------------------------------------- staging

    def _stage_all(self) -> None:
        while True:
            with self._queue.next_to_stage() as job:
                encoder = self._encoders.find(job.spec)
                staged: object = None
                if isinstance(encoder, StagingEncoder):
                    try:
                        staged = encoder.stage(job.media)
                        self._meter.add(staged=1)
                    except Exception:  # noqa: BLE001 - of anybody's code: `extract` meets it again, and answers for it
                        staged = None
                job.staged.append(staged)
                del encoder, staged

    # ----------------------------------------------------------------------- computing

    def _compute_all(self) -> None:
        has_begun = False
        while True:
            job, idle_ns = self._queue.take()
            self._meter.add(idle_ns=idle_ns if has_begun else 0, media_bytes=job.nbytes)
            has_begun = True
            job.peer.send(Started(number=job.number))
            # In C and without the interpreter's lock: it also ends a process that hangs inside a library.
            faulthandler.dump_traceback_later(self._settings.request_timeout_s, exit=True)
            try:
                with self._voice.heard_by(job.peer):
                    self._answer(job)
            finally:
                faulthandler.cancel_dump_traceback_later()

    def _answer(self, job: Job) -> None:
        """Compute and answer one request. No exception of an encoder ends the process, but that of a broken device."""
        started_ns, load_ns = time.monotonic_ns(), 0
        try:
            encoder = self._load(job.spec)
            load_ns = time.monotonic_ns() - started_ns
            before = units_of(encoder)
            values = self._encoders.compute(job.spec, lambda: _extract(encoder, job))
            if len(values) != len(job.media):
                raise ValueError(f"{len(values)} values for {len(job.media)} clips")
            used, padded = (after - earlier for after, earlier in zip(units_of(encoder), before, strict=True))
            answer: Answer | Fault = self._put(job, values, max(used, 0), max(padded, 0))
        except Exception as error:  # noqa: BLE001 - the process border: the worker raises it
            answer = _fault(job.number, error)
            self._meter.add(faults=1)
            if answer.kind is FaultKind.CRASHED and not _device_works(self._settings.device):
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(BROKEN_EXIT_CODE)
        busy_ns = time.monotonic_ns() - started_ns - load_ns
        self._meter.add(requests=1, clips=len(job.media), busy_ns=busy_ns, load_ns=load_ns)
        job.media = ()
        job.peer.settle(job.slot)
        job.peer.send(answer)

    def _load(self, spec: str) -> Encoder:
        try:
            return self._encoders.load(spec)
        except TransientError:
            raise
        except Exception as error:  # whatever it is, no clip is to blame, and the next request would meet it again
            about = "" if isinstance(error, MmpipeError) else f"{type(error).__name__}: "
            raise ConfigError(f"it cannot be loaded on {self._settings.device}: {about}{error}") from error

    def _put(self, job: Job, values: Sequence[FeatureValue], used: int, padded: int) -> Answer:
        """Write values behind the media, which they may be views of."""
        parcel = pack_values(values)
        parcel.write(job.block.view(job.nbytes, parcel.nbytes))
        self._meter.add(value_bytes=parcel.nbytes)
        return Answer(number=job.number, offset=job.nbytes, nbytes=parcel.nbytes, used_units=used, padded_units=padded)


class _Voice(logging.Handler):
    """Tells the worker whose request is computed what is logged or warned meanwhile; its parent knows the clips."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._peer: Peer | None = None
        self._num_left = 0

    @contextmanager
    def heard_by(self, peer: Peer) -> Iterator[None]:
        """Speak to a worker for as long as the block lasts, and say only so much."""
        self._peer, self._num_left = peer, MOST_SAID
        try:
            yield
        finally:
            self._peer = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; what nobody asked for is for nobody."""
        peer = self._peer
        if peer is None or self._num_left <= 0:
            return
        self._num_left -= 1
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - of anybody's record: its arguments need not fit its text
            text = str(record.msg)
        peer.send(Said(level=record.levelno, origin=record.name[:100], text=text[:MOST_SAID_LETTERS]))


def _extract(encoder: Encoder, job: Job) -> list[FeatureValue]:
    staged = job.staged.pop() if job.staged else None
    if staged is not None and isinstance(encoder, StagingEncoder):
        return encoder.extract_staged(staged)
    return encoder.extract(job.media)


def _fault(number: int, error: Exception) -> Fault:
    code, detail = type(error).__name__, str(error)
    kind = FaultKind.CRASHED
    if isinstance(error, SampleError):
        kind, code, detail = FaultKind.SAMPLE, error.code, error.detail
    elif isinstance(error, ConfigError):
        kind = FaultKind.CONFIG
    elif isinstance(error, TransientError):
        kind = FaultKind.TRANSIENT
    elif is_out_of_memory(error):
        kind = FaultKind.MEMORY
    return Fault(number=number, kind=kind, code=code, detail=detail[:MAX_DETAIL_LETTERS])


def _device_works(device: str) -> bool:
    """Say whether the device still answers: after an illegal access every call of a CUDA context fails for good."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize(device)
        torch.zeros(1, device=device).cpu()
    except Exception:  # noqa: BLE001 - whatever it says, it is broken; running out of memory is not
        return False
    return True


def _or_exit(body: Callable[[], None]) -> NoReturn:
    try:
        body()
    except BaseException:  # noqa: BLE001 - a fault of ours: into the log, and the parent starts another
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)
