"""What a worker runs to say what one file cost."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Mapping

from mmpipe.media.probe import probe_file
from mmpipe.steps.workers.worker import ProbeWork


def probe_timed(work: ProbeWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Probe files one by one; return the code and the seconds of each, and the most memory that there was."""
    told = {}
    for file in work.files:
        report(file.name)
        started = time.monotonic()
        probed = probe_file(work.root, file, work.limits, work.arrays, released=work.released)
        code = probed.drops[0].code if probed.drops else "good"
        told[file.name] = (poisoned.get(file.name, code), round(time.monotonic() - started, 3))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return json.dumps({"files": told, "peak_mb": peak_mb}).encode()
