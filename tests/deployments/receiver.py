"""A small real webhook receiver and a small real mail server: where the tests send notices."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Inbox:
    """What arrived, and where it is sent to."""

    address: str = ""
    messages: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    status: int = 200  # what a webhook answers
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def put(self, message: Any) -> None:
        with self.arrived:
            self.messages.append(message)
            self.arrived.notify_all()

    def wait_for(self, wanted: str, timeout_s: float = 60) -> str:
        """Return the first message with the text in it."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [text for text in map(json.dumps, self.messages) if wanted in text]
            return bool(found)

        with self.arrived:
            assert self.arrived.wait_for(is_there, timeout_s), f"{wanted!r} is not among {self.messages}"
        return found[0]


@contextmanager
def webhook() -> Iterator[Inbox]:
    """Take JSON at a port of this machine."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            inbox.paths.append(self.path)
            self.send_response(inbox.status)
            self.end_headers()
            inbox.put(json.loads(body))

        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        inbox.address = f"http://127.0.0.1:{server.server_port}"
        with _served(server):
            yield inbox


@contextmanager
def mailbox() -> Iterator[Inbox]:
    """Take mails at a port of this machine: as much of SMTP as one message needs."""
    inbox = Inbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            for line in iter(self.rfile.readline, b""):
                verb = line.decode("latin-1").strip().upper()
                if verb == "DATA":
                    self.say("354 go on")
                    inbox.put("".join(text.decode() for text in iter(self.rfile.readline, b".\r\n")))
                self.say("221 bye" if verb == "QUIT" else "250 ok")
                if verb == "QUIT":
                    return

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        inbox.address = f"127.0.0.1:{server.server_address[1]}"
        with _served(server):
            yield inbox


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
