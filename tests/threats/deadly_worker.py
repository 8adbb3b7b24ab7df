"""What a worker runs where some files end their process: by their names, as their content might."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from mmpipe.media.probe import ProbedFile
from mmpipe.steps.ground.wire import decode, encode
from mmpipe.steps.workers.worker import ProbeWork, probe_files


def probe_or_die(work: ProbeWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Probe files one by one, and die at those that say so."""
    found: list[ProbedFile] = []
    for file in work.files:
        if file.name not in poisoned:
            report(file.name)
            act(file.name, report)
        (probed,) = decode(tuple[ProbedFile, ...], probe_files(replace(work, files=(file,)), report, poisoned))
        found.append(probed)
    return encode(tuple[ProbedFile, ...], tuple(found))


def act(name: str, report: Callable[[str], None]) -> None:
    """End this process, or never end, if a name asks for it."""
    if name.startswith("segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("oom-killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hang"):
        time.sleep(600)
    if name.startswith("leave"):
        os._exit(0)
    if name.startswith("swell"):
        held = []
        while True:
            held.append(np.ones(1 << 21))
            report(name)  # however slow the machine is: it is the memory that ends this one
            time.sleep(0.005)
