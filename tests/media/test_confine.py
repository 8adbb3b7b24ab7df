from __future__ import annotations

import json
import socket
import subprocess
import sys

CHILD = """
import json, multiprocessing, os, resource, socket, sys
from mmpipe.media.confine import limit_process
ours, theirs = multiprocessing.Pipe()
confinement = limit_process(open_files=100)
theirs.send("a pipe still works")
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5).close()
    reached = True
except OSError:
    reached = False
open(sys.argv[2], "w").close()
print(json.dumps({
    "network_off": confinement.network_off, "detail": confinement.detail, "reached": reached, "pipe": ours.recv(),
    "core": resource.getrlimit(resource.RLIMIT_CORE), "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "owner": os.stat(sys.argv[2]).st_uid, "me": os.getuid(),
}))
"""


def test_a_confined_process_has_no_network_and_keeps_its_pipes(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", CHILD, str(server.getsockname()[1]), str(tmp_path / "made")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    told = json.loads(done.stdout)
    assert told["reached"] is not told["network_off"], told["detail"]
    assert told["pipe"] == "a pipe still works"
    assert told["core"] == [0, 0] and told["files"] == [100, 100]
    assert told["owner"] == told["me"]
