"""A decode worker's end of the line to its device: requests go out while earlier ones are computed.

The process at the other end may die at any time: its parent starts another, and what was not answered is sent again.
A micro-batch that was being computed when it died, twice, is taken apart to find the clip that does it.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmpipe.engine.device.block import SharedBlock
from mmpipe.engine.device.media import Malformed, pack_media, unpack_values
from mmpipe.engine.device.seat import Seat, take_seat
from mmpipe.engine.device.wire import (
    Announce,
    Answer,
    Closed,
    Fault,
    Message,
    Place,
    Request,
    Said,
    Started,
    connect,
    receive,
    send,
)
from mmpipe.errors import MmpipeError, TransientError
from mmpipe.types import DeviceMedia, FeatureValue

LOGGER = logging.getLogger("mmpipe.device")
NUM_BLOCKS = 2  # requests in flight: one is computed, the next lies ready
TICK_S = 1.0  # how often somebody who waits says so
STRIKES = 2  # one death may be chance
_RETRY_S, _REFUSED_S = 0.05, 10.0  # where a device gives up, until its parent has said so


class RemoteError(Exception):
    """An exception of an extractor in the device's process; its class has the name of the original."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A request that is not tried any more: it ended the process, or memory does not suffice for it."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The values of a request, and what the encoder was given for it."""

    values: list[FeatureValue]
    used_units: int
    padded_units: int


Outcome = Encoded | Fault | Killed


@dataclass(slots=True, kw_only=True, eq=False)
class _Flight:
    """A request that is not answered."""

    number: int
    feature: int
    media: Sequence[DeviceMedia]
    slot: int
    strikes: int  # deaths that it may cause
    is_started: bool = False


@dataclass(slots=True, kw_only=True)
class LinkMeter:
    """What a worker's line to its device took."""

    wait_ns: int = 0  # for answers and for free blocks
    media_bytes: int = 0
    value_bytes: int = 0
    reconnects: int = 0
    devices: list[int] = field(default_factory=list)  # that it was seated at


class DeviceLink:
    """The line of one worker process, for all its features; for one thread.

    `on_wait` is called every second or so while the device is waited for.
    """

    def __init__(self, folder: Path, on_wait: Callable[[], None] = lambda: None, num_blocks: int = NUM_BLOCKS) -> None:
        self.meter = LinkMeter()
        self.on_wait = on_wait
        self._folder = folder
        self._seat: Seat | None = None
        self._connection: socket.socket | None = None
        self._specs: list[str] = []
        self._blocks = [SharedBlock.create() for _ in range(num_blocks)]
        self._free = list(range(num_blocks))
        self._flying: dict[int, _Flight] = {}
        self._landed: dict[int, Outcome] = {}
        self._next = 0

    def announce(self, spec: str) -> int:
        """Return the number under which a feature is asked for; the device loads it with the first request."""
        if spec not in self._specs:
            self._specs.append(spec)
            if self._connection is not None:
                self._say(Announce(feature=len(self._specs) - 1, spec=spec))
        return self._specs.index(spec)

    def submit(self, feature: int, media: Sequence[DeviceMedia], strikes: int = STRIKES) -> int:
        """Send a micro-batch, waiting for a free block; return its number for `collect`.

        Raise TransientError or ConfigError where no device is left.
        """
        while not self._free:
            self._await()
        flight = _Flight(number=self._next, feature=feature, media=media, slot=self._free.pop(), strikes=strikes)
        self._next += 1
        self._flying[flight.number] = flight
        try:
            if self._connection is None:
                self._connect()  # sends all that flies
            else:
                self._send(flight)
        except (TypeError, ValueError):  # media that cannot be sent: nothing of them is on its way
            del self._flying[flight.number]
            self._free.append(flight.slot)
            raise
        return flight.number

    def collect(self, number: int) -> Outcome:
        """Wait for what a request came to; raise TransientError or ConfigError where no device is left."""
        while number not in self._landed:
            if number not in self._flying:
                raise TransientError(f"request {number} was lost with the device that had it")
            self._await()
        return self._landed.pop(number)

    def close(self) -> None:
        """Hang up: the device forgets what was asked for."""
        self._hang_up()
        for block in self._blocks:
            block.close()
        self._flying.clear()

    # ----------------------------------------------------------------------- the line

    def _await(self) -> None:
        """Wait for one message and do what it says."""
        started_ns = time.monotonic_ns()
        try:
            if self._connection is None:
                self._connect()
                return
            poll = select.poll()
            poll.register(self._connection, select.POLLIN)
            while not poll.poll(TICK_S * 1000):
                self.on_wait()
            self._hear(receive(self._connection)[0])
        except Closed:
            self._lost()
        finally:
            self.meter.wait_ns += time.monotonic_ns() - started_ns

    def _hear(self, message: Message) -> None:
        if isinstance(message, Said):
            LOGGER.log(message.level, "%s: %s", message.origin, message.text)
            return
        if not isinstance(message, Started | Answer | Fault) or message.number not in self._flying:
            raise Closed(f"{type(message).__name__} is not for the device to say now")
        flight = self._flying[message.number]
        if isinstance(message, Started):
            flight.is_started = True
        elif isinstance(message, Fault):
            self._land(flight, message)
        else:
            try:
                values = unpack_values(self._blocks[flight.slot].view(message.offset, message.nbytes))
            except (Malformed, ValueError) as error:
                raise Closed(str(error)) from error
            self.meter.value_bytes += message.nbytes
            used, padded = message.used_units, message.padded_units
            self._land(flight, Encoded(values=values, used_units=used, padded_units=padded))

    def _land(self, flight: _Flight, outcome: Outcome) -> None:
        del self._flying[flight.number]
        self._free.append(flight.slot)
        self._landed[flight.number] = outcome

    def _lost(self) -> None:
        """The process died, or said nonsense: blame what it was at, and send the rest to its successor."""
        self._hang_up()
        self.meter.reconnects += 1
        for flight in list(self._flying.values()):
            if flight.is_started:
                flight.is_started = False
                flight.strikes -= 1
                if flight.strikes <= 0:
                    self._land(flight, Killed(detail="computing it ended the device's process"))
        self._connect()

    def _connect(self) -> None:
        """Take a seat, say all that a fresh process must know, and send what is not answered, in order."""
        deadline_s = time.monotonic() + _REFUSED_S
        while True:
            try:
                seat = take_seat(self._folder)
            except MmpipeError:  # no device is left: who comes again begins anew
                self._flying.clear()
                self._free = list(range(len(self._blocks)))
                raise
            try:
                self._connection = connect(seat.path)
                break
            except OSError as error:  # it gave up just now, and says so in a moment
                seat.leave()
                if time.monotonic() > deadline_s:
                    raise TransientError(f"nobody listens at {seat.path}: {error}") from error
                self.on_wait()
                time.sleep(_RETRY_S)
        self._seat = seat
        self.meter.devices.append(seat.device)
        for number, spec in enumerate(self._specs):
            self._say(Announce(feature=number, spec=spec))
        for slot, block in enumerate(self._blocks):
            self._say(Place(slot=slot), block.descriptor)
        for flight in sorted(self._flying.values(), key=lambda flight: flight.number):
            self._send(flight)

    def _send(self, flight: _Flight) -> None:
        parcel = pack_media(flight.media)
        parcel.write(self._blocks[flight.slot].view(0, parcel.nbytes))
        self.meter.media_bytes += parcel.nbytes
        self._say(Request(number=flight.number, feature=flight.feature, slot=flight.slot, nbytes=parcel.nbytes))

    def _say(self, message: Message, descriptor: int | None = None) -> None:
        """Send; a line that is dead is noticed by who reads from it, together with the last words."""
        if self._connection is not None:
            try:
                send(self._connection, message, descriptor)
            except Closed:
                return

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._seat is not None:
            self._seat.leave()
            self._seat = None
