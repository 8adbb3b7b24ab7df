"""A small server that keeps what it is sent, and answers what it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """A server that answers what it is told to, and keeps every body."""

    url: str = ""
    answers: list[int] = field(default_factory=list)  # of the next requests; then 200
    bodies: list[bytes] = field(default_factory=list)  # that were taken
    refused: int = 0
    paths: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = kept.answers.pop(0) if kept.answers else 200
            kept.paths.append(self.path)
            kept.keys.append(self.headers.get("Authorization", ""))
            if code == 200:
                kept.bodies.append(body)
            else:
                kept.refused += 1
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()
