"""A small real proxy before a Prefect server: it counts requests, and answers some of them itself."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable

HOST = "127.0.0.1"
_END_OF_HEAD = b"\r\n\r\n"


class Proxy:
    """Passes one request a connection on to a server, and whole web sockets.

    `decide` gets the number of each request, before the server does, and returns the code to answer with; 0 passes.
    """

    def __init__(self, server_port: int, decide: Callable[[int], int]) -> None:
        self._server_port = server_port
        self._decide = decide
        self._numbers = 0
        self._lock = threading.Lock()
        self.num_refused = 0
        self.port = 0
        self.open()

    @property
    def num_requests(self) -> int:
        """Return how many requests came, but those for a web socket."""
        return self._numbers

    def open(self) -> None:
        """Take connections; again at the same port where it was open before."""
        self._listener = socket.create_server((HOST, self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, as a server does that is away."""
        self._listener.shutdown(socket.SHUT_RDWR)  # else the thread that waits in `accept` would take one more
        self._listener.close()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Pass a request on; where the server is away, the caller sees its connection closed, as without a proxy."""
        with client:
            try:
                head, rest = _read_head(client)
                if b"upgrade: websocket" not in head.lower():
                    if code := self._judge():
                        _answer(client, code, head, rest)
                        return
                    head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"\r\nConnection: close", head)
                with socket.create_connection((HOST, self._server_port)) as server:
                    server.sendall(head + rest)
                    back = threading.Thread(target=_pipe, args=(server, client), daemon=True)
                    back.start()
                    _pipe(client, server)
                    back.join()
            except OSError:
                return

    def _judge(self) -> int:
        with self._lock:
            self._numbers += 1
            code = self._decide(self._numbers)
            self.num_refused += bool(code)
            return code


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a request, and what came of its body with it."""
    data = b""
    while _END_OF_HEAD not in data:
        if not (part := client.recv(65_536)):
            raise ConnectionError("closed before a whole request came")
        data += part
    head, _, rest = data.partition(_END_OF_HEAD)
    return head + _END_OF_HEAD, rest


def _answer(client: socket.socket, code: int, head: bytes, rest: bytes) -> None:
    """Answer with a bare code, once the body is read: closing with bytes unread would reset the connection."""
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    missing = int(found[1]) - len(rest) if found else 0
    while missing > 0 and (part := client.recv(min(missing, 65_536))):
        missing -= len(part)
    client.sendall(b"HTTP/1.1 %d Busy\r\nRetry-After: 0.2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % code)


def _pipe(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until one side ends, then say so to the other."""
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
