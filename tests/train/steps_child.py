"""The run of `test_mid_epoch.py` in its own process, that kills itself: `steps_child.py FOLDER STEP`; step 0: never."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from test_mid_epoch import train_all

folder, last = Path(sys.argv[1]), int(sys.argv[2])


def kill(epoch: int, step: int, steps: int) -> None:
    if last and steps * (epoch - 1) + step >= last:
        os.kill(os.getpid(), signal.SIGKILL)


train_all(checkpoint_dir=folder, on_step=kill)
