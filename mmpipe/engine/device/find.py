"""Which GPUs this machine has, as torch sees them; asked in a process of its own, so that nobody holds a context."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmpipe.engine.device.process import DeviceSpec
from mmpipe.errors import ConfigError

_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, WSL: without one of them torch need not be asked
_ASK_TIMEOUT_S = 300
_ASK = """
import json, torch
found = []
for index in range(torch.cuda.device_count()):
    about = torch.cuda.get_device_properties(index)
    found.append({"index": index, "name": about.name, "memory_bytes": about.total_memory,
                  "is_cuda": torch.version.cuda is not None})
print("GPUS", json.dumps(found))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU that this process may use: CUDA_VISIBLE_DEVICES is honoured, and the index counts what it lets through."""

    index: int
    name: str
    memory_bytes: int
    is_cuda: bool  # not ROCm


@cache
def find_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs; none where there is no driver, or where torch cannot use them."""
    if not any(Path(driver).exists() for driver in _DRIVERS):
        return ()
    done = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("GPUS ")]
    return tuple(Gpu(**entry) for entry in json.loads(lines[-1].removeprefix("GPUS "))) if lines else ()


def choose_gpus(device: str, gpus: Sequence[Gpu], visible: str | None = None) -> tuple[DeviceSpec, ...]:
    """Return the GPUs that "auto", "cuda" (all of them) or "cuda:N" means, each as its process will see it.

    `visible` is CUDA_VISIBLE_DEVICES, None where it is not set. ConfigError: there is no such GPU.
    """
    if device == "cpu" or (device == "auto" and not gpus):
        return ()
    wanted = [gpu for gpu in gpus if device in ("auto", "cuda", f"cuda:{gpu.index}")]
    if not wanted:
        there = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in gpus) or "none"
        raise ConfigError(
            f'engine.device = "{device}": torch sees no such GPU here; there are: {there}. Take "auto" or "cpu", look '
            "at CUDA_VISIBLE_DEVICES, or install a build of torch for this machine's GPU and its driver."
        )
    return tuple(_spec(gpu, visible) for gpu in wanted)


def visible_gpus() -> str | None:
    """Return what the environment lets through."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def _spec(gpu: Gpu, visible: str | None) -> DeviceSpec:
    """Show a process its own GPU alone, so that nothing of it can come to lie on another."""
    named = f"cuda:{gpu.index}"
    if not gpu.is_cuda:
        return DeviceSpec(device=named, name=gpu.name)
    number = visible.split(",")[gpu.index].strip() if visible is not None else str(gpu.index)
    environment = {
        "CUDA_VISIBLE_DEVICES": number,  # an index, or GPU-... or MIG-... as it was given to us
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it the sums of a matrix product may differ from run to run
    }
    return DeviceSpec(device=named, name=gpu.name, inner="cuda:0", environment=environment)
