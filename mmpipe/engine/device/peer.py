"""A decode worker as the encoder process sees it: its connection, what it announced, and the blocks that it shares."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from mmpipe.engine.device.block import SharedBlock
from mmpipe.engine.device.wire import Announce, Closed, Message, Place, Request, receive, send

MAX_BLOCKS = 16
MAX_SPECS = 256


class Peer:
    """One connection. Nothing that comes over it is believed: what is wrong ends the connection, and only that."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.is_gone = False
        self._specs: dict[int, str] = {}
        self._blocks: dict[int, SharedBlock] = {}
        self._open: set[int] = set()  # slots of requests that are not answered

    def receive(self) -> tuple[Request, str, SharedBlock] | None:
        """Take one message; return a request with what it means, None for another message. Raise Closed."""
        message, descriptor = receive(self.connection)
        if isinstance(message, Place) and descriptor is not None:
            self._place(message, descriptor)
            return None
        if descriptor is not None:
            os.close(descriptor)
            raise Closed("a descriptor that nobody asked for")
        if isinstance(message, Announce) and len(self._specs) < MAX_SPECS:
            self._specs[message.feature] = message.spec
            return None
        if isinstance(message, Request):
            return self._request(message)
        raise Closed(f"{type(message).__name__} is not for a worker to say")

    def send(self, message: Message) -> None:
        """Send a message, or take the worker for gone: one that does not read has no claim to answers."""
        try:
            send(self.connection, message)
        except Closed:
            self.is_gone = True

    def settle(self, slot: int) -> None:
        """Take the request of a block for answered, before the answer goes out."""
        self._open.discard(slot)

    def close(self) -> None:
        """Let the connection and the blocks go; a block that is being read goes with its last view."""
        self.is_gone = True
        with suppress(OSError):
            self.connection.close()
        for block in self._blocks.values():
            block.close()
        self._blocks.clear()

    def _place(self, message: Place, descriptor: int) -> None:
        try:
            if message.slot in self._blocks or len(self._blocks) >= MAX_BLOCKS:
                raise Closed(f"block {message.slot} comes twice, or is one too many")
            self._blocks[message.slot] = SharedBlock.attach(descriptor)
        except (Closed, ValueError) as error:
            os.close(descriptor)
            raise Closed(str(error)) from error

    def _request(self, message: Request) -> tuple[Request, str, SharedBlock]:
        spec, block = self._specs.get(message.feature), self._blocks.get(message.slot)
        if spec is None or block is None or message.slot in self._open:
            raise Closed(f"a request for feature {message.feature} in block {message.slot}, which cannot be")
        self._open.add(message.slot)
        return message, spec, block
