"""What a GPU's driver says of its load: the share of time in which kernels ran, sampled while a block runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_ASK = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200")


@contextmanager
def sample_gpu(num_devices: int) -> Iterator[dict[int, list[float]]]:
    """Sample NVIDIA's GPUs; when the block ends, the value has percentages by device, or nothing where none can be.

    Devices count as CUDA_VISIBLE_DEVICES lets them through.
    """
    samples: dict[int, list[float]] = {}
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield samples
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else [str(n) for n in range(num_devices)]
    running = [
        subprocess.Popen(
            [tool, f"--id={name}", *_ASK],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name in names[:num_devices]
    ]
    try:
        yield samples
    finally:
        for number, process in enumerate(running):
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate()
            samples[number] = [float(line) for line in said.split() if line.replace(".", "", 1).isdigit()]
