"""What a training was computed with: all that may change its last bits, and nothing that names a machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

import mmpipe
from mmpipe.config import Determinism, TrainConfig, TrainDevice

# What a network's numbers come from: the code of its parts, of its training, and of the batches it is fed.
_ROOMS = ("batches", "fusion", "train")
_WORDS = {
    "code": "mmpipe's code",
    "instructions": "the processor's instructions",
    "device": "the device",
    "threads": "the number of threads",
    "processes": "the number of processes",
}


def training_environment(train: TrainConfig, num_processes: int) -> dict[str, str]:
    """Return what a training in this process is computed with, by name."""
    import numpy
    import torch

    on_cuda = train.device is TrainDevice.CUDA
    cores = max(1, len(os.sched_getaffinity(0)) // num_processes)
    return {
        "mmpipe": importlib.metadata.version("mmpipe"),
        "code": code_digest(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "device": torch.cuda.get_device_name() if on_cuda else "cpu",
        "instructions": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": "1" if train.determinism is Determinism.STRICT else str(cores),
        "processes": str(num_processes),
    }


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Say what of two environments differs, what decides most first."""
    for name in dict.fromkeys(("code", "torch", *sorted({*then, *now}))):
        before, after = then.get(name, "unknown"), now.get(name, "unknown")
        if before != after:
            yield f"{_WORDS.get(name, name)}: {_short(name, before)} then, {_short(name, after)} now"


def code_digest() -> str:
    """Return the sha256 over the files of mmpipe that a network's numbers come from."""
    root = Path(mmpipe.__file__).parent
    hasher = hashlib.sha256()
    for path in sorted(path for room in _ROOMS for path in (root / room).rglob("*.py")):
        data = path.read_bytes()
        hasher.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return hasher.hexdigest()


def _short(name: str, value: str) -> str:
    return value[:12] if name == "code" else value
