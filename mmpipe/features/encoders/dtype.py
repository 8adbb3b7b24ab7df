"""In which numbers an encoder computes: half the bits where the processor is faster with them, decided once.

Measured on one core with AMX: bf16 weights make ViT-S 2.7, MiniLM 3.5 and whisper-tiny 2.8 times as fast as float32,
at a cosine of 0.99995 to it. Without bf16 instructions bf16 may be slower.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from mmpipe.errors import ConfigError
from mmpipe.remote import cache_root

DtypeWish = Literal["auto", "float32", "bfloat16", "float16"]
_CPU_INFO = Path("/proc/cpuinfo")
_LEAST_GAIN = 1.25  # of bf16 over float32; below it the timing on a shared machine says nothing
_PROBE_SIDE, _PROBE_ROUNDS = 512, 7


def resolve_dtype(wish: str, device: str, cpu_info: Path = _CPU_INFO) -> str:
    """Return the dtype that an encoder computes in: "float32", "bfloat16" or "float16".

    "auto" is bf16 on a CPU with AMX, on one with AVX512-BF16 alone if it is faster there (timed once a machine, then
    remembered), and on a GPU that has it; else float32 on a CPU and float16 on a GPU. What is returned belongs into
    the parameters, and so into the fingerprint. Raise ConfigError for float16 on a CPU.
    """
    on_cpu = device == "cpu"
    if wish == "float16" and on_cpu:
        raise ConfigError('dtype = "float16" is for GPUs: on a CPU ask for "bfloat16", "float32" or "auto"')
    if wish != "auto":
        return wish
    if on_cpu:
        return "bfloat16" if _cpu_gains_by_bf16(cpu_info) else "float32"
    import torch

    if not torch.cuda.is_available():  # a cluster's workers have the GPUs: those of the last six years have bf16
        return "bfloat16"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def torch_dtype(name: str) -> Any:
    """Return torch's dtype of a name."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def _cpu_gains_by_bf16(cpu_info: Path) -> bool:
    try:
        text = cpu_info.read_text()
    except OSError:
        return False
    flags = {flag for line in text.splitlines() if line.startswith("flags") for flag in line.split(":", 1)[1].split()}
    if "amx_bf16" in flags:
        return True
    return "avx512_bf16" in flags and _remembered(text, _is_faster_in_bf16)


def _remembered(cpu_text: str, decide: Callable[[], bool]) -> bool:
    """Return what was decided for this kind of processor on this machine; decide once."""
    kind = next((line for line in cpu_text.splitlines() if line.startswith("model name")), "")
    record = cache_root() / f"bf16-{hashlib.sha256(kind.encode()).hexdigest()[:16]}.json"
    try:
        return bool(json.loads(record.read_bytes())["bf16"])
    except (OSError, ValueError, KeyError, TypeError):
        decided = decide()
    temporary = record.with_name(f".{uuid.uuid4().hex}.part")
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"bf16": decided, "cpu": kind}))
        os.replace(temporary, record)
    return decided


def _is_faster_in_bf16() -> bool:
    """Time a product of matrices in both kinds of numbers, in turns, by CPU time."""
    import torch

    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    factors = {dtype: torch.ones(_PROBE_SIDE, _PROBE_SIDE, dtype=dtype) for dtype in best}
    for _ in range(_PROBE_ROUNDS):
        for dtype, factor in factors.items():
            before_s = time.process_time()
            torch.mm(factor, factor)
            best[dtype] = min(best[dtype], time.process_time() - before_s)
    return best[torch.bfloat16] * _LEAST_GAIN < best[torch.float32]
