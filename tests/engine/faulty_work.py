"""Work that does its duty, or fails in every way a worker can."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mmpipe.errors import SampleError

setups = 0


def count_setup():
    global setups
    setups += 1


def refuse_setup():
    raise SampleError("no_model", "there is no model here")


def crash_setup():
    raise ZeroDivisionError("in set-up")


def miss(payload):
    """Refuse a node."""
    raise SampleError("missing", f"there is no {payload.decode()} here")


def die_in_setup():
    os._exit(3)


def work(payload, report, poisoned):
    """Do the parts [(name, action)]; the result lists what was done, what was left out, and by whom."""
    done = []
    for part, action in payload:
        if part in poisoned:
            continue
        report(part)
        ACTIONS[action]()
        done.append(part)
    return json.dumps({"done": done, "left_out": dict(poisoned), "pid": os.getpid(), "setups": setups}).encode()


def empty(payload, report, poisoned):
    return b""


def echo(payload, report, poisoned):
    return payload


def environment(payload, report, poisoned):
    facts = {name: os.environ.get(name) for name in payload}
    facts["stdin"] = sys.stdin.read()
    facts["own_session"] = os.getsid(0) == os.getpid() == os.getpgid(0)
    print("said on standard output", flush=True)
    return json.dumps(facts).encode()


def die_before_any_part(payload, report, poisoned):
    os._exit(7)


def die_between_parts(payload, report, poisoned):
    report("a")
    report("")
    os._exit(7)


def ignore_poison(payload, report, poisoned):
    report("a")
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(payload, report, poisoned):
    report("a")
    marker = Path(payload)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return b"second time lucky"


def not_bytes(payload, report, poisoned):
    return {"a": 1}


def leave_children(payload, report, poisoned):
    """Start a child in the group, one in a session of its own, and an orphan; name them in a file; then act."""
    if poisoned:
        return b""
    folder, action = payload
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]
    children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
    orphan = subprocess.run(
        [
            sys.executable,
            "-c",
            "import subprocess\n"
            f"print(subprocess.Popen({sleep!r}, start_new_session=True, stdout=subprocess.DEVNULL).pid)",
        ],
        stdout=subprocess.PIPE,
    )
    report("a")
    Path(folder, "temporary").write_text(f"{os.getpid()} {children[0].pid} {children[1].pid} {int(orphan.stdout)}")
    Path(folder, "temporary").rename(Path(folder, "pids"))
    time.sleep(0.3)  # lets the watchdog see them: what is younger than a tick, a dying worker may leave behind
    ACTIONS[action]()
    return b""


def speak_garbage(payload, report, poisoned):
    """Write to every socket, as broken native code could."""
    report("a")
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, payload)
        except OSError:
            continue
    time.sleep(1000)


def _segfault():
    ctypes.string_at(0)


def _allocate():
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 20) * 16))


def _allocate_in_child():
    code = "import time; hoard = bytearray(b'x') * (300 << 20); time.sleep(1000)"
    subprocess.run([sys.executable, "-c", code])


def _starve():
    bytearray(1 << 60)


def _hang():
    while True:
        pass


def _refuse():
    raise SampleError("bad_sample", "the sample is bad")


def _crash():
    raise ZeroDivisionError("a fault of the programmer")


ACTIONS = {
    "fine": lambda: None,
    "segfault": _segfault,
    "abort": os.abort,
    "exit": lambda: os._exit(0),
    "sys_exit": lambda: sys.exit(0),
    "nap": lambda: time.sleep(0.2),
    "hang": _hang,
    "sleep": lambda: time.sleep(1000),
    "allocate": _allocate,
    "allocate_in_child": _allocate_in_child,
    "starve": _starve,
    "refuse": _refuse,
    "crash": _crash,
}
