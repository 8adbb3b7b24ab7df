"""What a decode worker and an encoder process say to each other: small typed messages as JSON, one per packet.

Media and values never travel this way: they lie in shared blocks, whose descriptors come along with `Place`.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

MAX_MESSAGE_BYTES = 96 << 10  # below the usual size of a socket's buffer
MAX_DETAIL_LETTERS = 8_000


class FaultKind(StrEnum):
    """What kind of exception a request ended in."""

    SAMPLE = "sample"
    CONFIG = "config"
    TRANSIENT = "transient"
    MEMORY = "memory"  # of the process or the device: fewer clips at once may do
    CRASHED = "crashed"  # anything else; `code` is the name of its class


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """From a worker: under which number it will ask for what a specification names."""

    feature: int
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """From a worker, with a descriptor: a shared block and its number."""

    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """From a worker: encode the media that fill the first bytes of a block."""

    number: int
    feature: int
    slot: int
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """To a worker: its request is what the process does now; if it dies, this is why."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """To a worker: its values lie in the request's block."""

    number: int
    offset: int
    nbytes: int
    used_units: int  # tokens, windows or frames that the encoder was given on purpose
    padded_units: int  # and those that filled batches up


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """To a worker: its request ended in an exception."""

    number: int
    kind: FaultKind
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """To a worker: a line for the log, of the time in which its request was computed."""

    level: int
    origin: str
    text: str


Message = Announce | Place | Request | Started | Answer | Fault | Said
_BY_NAME: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (Announce, Place, Request, Started, Answer, Fault, Said)
}


class Closed(Exception):
    """The other side is gone, or said what no message is."""


def connect(path: str) -> socket.socket:
    """Return a connection to whoever listens at a path, or will; raise OSError where nobody does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def listen(path: str) -> socket.socket:
    """Return a socket that listens at a path."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(4096)
    return listener


def send(connection: socket.socket, message: Message, descriptor: int | None = None) -> None:
    """Send a message, with a descriptor where one belongs to it; raise Closed."""
    data = json.dumps({"is": type(message).__name__, **asdict(message)}).encode()
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(data)} bytes; it may have {MAX_MESSAGE_BYTES}")
    try:
        if descriptor is None:
            connection.send(data)
        else:
            socket.send_fds(connection, [data], [descriptor])
    except OSError as error:
        raise Closed(str(error)) from error


def receive(connection: socket.socket) -> tuple[Message, int | None]:
    """Take one packet: the message, and the descriptor that came with it, which is the caller's. Raise Closed."""
    try:
        data, descriptors, flags, _ = _receive_packet(connection)
    except OSError as error:
        raise Closed(str(error)) from error
    descriptor = descriptors[0] if descriptors else None
    try:
        if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise Closed("the end" if not data else "more than a message")
        return _parse(data), descriptor
    except Closed:
        if descriptor is not None:
            os.close(descriptor)
        raise


def _receive_packet(connection: socket.socket) -> tuple[bytes, list[int], int, object]:
    """Take a packet; where the other side died with packets unread, the kernel says that before its last words."""
    try:
        return socket.recv_fds(connection, MAX_MESSAGE_BYTES, 1)
    except ConnectionResetError:
        return socket.recv_fds(connection, MAX_MESSAGE_BYTES, 1)


def _parse(data: bytes) -> Message:
    """Return the message that the bytes are, every field of its type and no number below 0."""
    try:
        parts = json.loads(data)
        kind = _BY_NAME[parts.pop("is")]
        for field in fields(kind):
            value = parts[field.name]
            if field.type == "int" and not (type(value) is int and value >= 0):
                raise ValueError(f"{field.name} = {value!r}")
            if field.type == "str" and not isinstance(value, str):
                raise ValueError(f"{field.name} = {value!r}")
        if kind is Fault:
            parts["kind"] = FaultKind(parts["kind"])
        return kind(**parts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Closed(f"what came is no message: {error}") from error
