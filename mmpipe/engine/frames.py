"""Frames on a socket: one byte of kind, eight of length, the body. What a worker sends is bytes and never a pickle."""

from __future__ import annotations

import socket
from enum import IntEnum

_HEADER_BYTES = 9
_MAX_BODY_BYTES = 1 << 30  # a worker that says more is broken or hostile


class Kind(IntEnum):
    """What the body of a frame is."""

    SETUP = 1  # to a worker: the name of its set-up function, or nothing
    TASK = 2  # to a worker: pickled (function, payload, poisoned)
    READY = 3  # from a worker: set up
    PART = 4  # from a worker: the name of the part that it starts
    RESULT = 5  # from a worker: what the function returned
    FAILURE = 6  # from a worker: JSON {code, detail, part}
    STARVED = 7  # from a worker: it ran into MemoryError
    LOG = 8  # from a worker: a line for the log, see `worker_log`


_KINDS = frozenset(Kind)


def pack(kind: Kind, body: bytes) -> bytes:
    """Return a frame."""
    return bytes([kind]) + len(body).to_bytes(8, "big") + body


class FrameBuffer:
    """Cuts the bytes that come into frames, up to the first that cannot be one."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.is_broken = False  # a kind or a length that cannot be: nothing after it has a meaning

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]:
        """Return the frames that `data` completes."""
        self._data += data
        frames = []
        while len(self._data) >= _HEADER_BYTES and not self.is_broken:
            length = int.from_bytes(self._data[1:_HEADER_BYTES], "big")
            end = _HEADER_BYTES + length
            if self._data[0] not in _KINDS or length > _MAX_BODY_BYTES:
                self.is_broken = True
            elif len(self._data) < end:
                break
            else:
                frames.append((Kind(self._data[0]), bytes(self._data[_HEADER_BYTES:end])))
                del self._data[:end]
        return frames


def receive_frame(connection: socket.socket) -> tuple[Kind, bytes] | None:
    """Wait for one frame on a blocking socket, None at its end."""
    header = _receive_exactly(connection, _HEADER_BYTES)
    if header is None:
        return None
    body = _receive_exactly(connection, int.from_bytes(header[1:], "big"))
    return None if body is None else (Kind(header[0]), body)


def _receive_exactly(connection: socket.socket, num_bytes: int) -> bytes | None:
    data = bytearray()
    while len(data) < num_bytes:
        piece = connection.recv(min(num_bytes - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)
