from __future__ import annotations

import os
import subprocess
import sys

from mmpipe.engine.tree import ProcessId, descendants, kill_process, resident_bytes

GRANDPARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "print('up', flush=True); import time; time.sleep(1000)"])
child.wait()
"""


def test_descendants_are_found_weighed_and_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", GRANDPARENT], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        (child,) = descendants(process.pid)
        assert resident_bytes(child.pid) > 1 << 20
        assert child.pid in {found.pid for found in descendants(os.getpid())}
        kill_process(ProcessId(pid=child.pid, start_ticks=child.start_ticks + 1))  # another one with its number
        assert descendants(process.pid) == (child,)
        kill_process(child)
        assert process.wait(10) == 0
    assert descendants(process.pid) == () and resident_bytes(process.pid) == 0
    kill_process(child)
