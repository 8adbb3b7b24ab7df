"""A flow that waits at its first start, to be killed, and completes at its second."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import flow


@flow(name="crashing")
def crashing(folder: str) -> None:
    """Leave a file with the number of this process; wait where it is the first."""
    starts = len(list(Path(folder).glob("start-*")))
    Path(folder, f"start-{starts}").write_text(str(os.getpid()))
    if not starts:
        time.sleep(600)
