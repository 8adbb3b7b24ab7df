"""A server that is told to run already may just be ending: `up` starts another then, instead of giving up."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from deployments.services import start_service, stop_service
from deployments.up import becomes_healthy

ENDING = "import time; time.sleep(1)"
ANSWERING = """
import http.server
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Health)
print(server.server_port, flush=True)
server.serve_forever()
"""
NOBODY = "http://127.0.0.1:9"


def test_a_server_that_ends_before_it_answers_is_not_waited_for(tmp_path: Path) -> None:
    server = start_service("server", [sys.executable, "-c", ENDING], os.environ, tmp_path, mark=f"ending-{tmp_path}")
    assert not becomes_healthy(server, NOBODY)
    os.waitpid(server.pid, 0)


def test_a_server_that_answers_is_healthy(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ANSWERING]
    server = start_service("server", command, os.environ, tmp_path, mark=f"answering-{tmp_path}")
    try:
        deadline = time.monotonic() + 30
        while not (port := Path(server.log).read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert becomes_healthy(server, f"http://127.0.0.1:{port}")
    finally:
        stop_service(server)
        os.waitpid(server.pid, 0)
