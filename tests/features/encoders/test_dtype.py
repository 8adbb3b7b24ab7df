"""Which numbers an encoder computes in is decided once, by what the processor can do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.dtype import resolve_dtype, torch_dtype


def processor(folder: Path, *flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"model name\t: A processor\nflags\t\t: fpu sse {' '.join(flags)}\n")
    return path


def test_auto_is_bf16_where_the_processor_multiplies_it(tmp_path: Path) -> None:
    assert resolve_dtype("auto", "cpu", processor(tmp_path, "avx512_bf16", "amx_bf16")) == "bfloat16"
    assert resolve_dtype("auto", "cpu", processor(tmp_path, "avx2")) == "float32"
    assert resolve_dtype("auto", "cpu", tmp_path / "nowhere") == "float32"


def test_without_amx_it_is_timed_once_and_remembered(tmp_path: Path) -> None:
    info = processor(tmp_path, "avx512_bf16")
    first = resolve_dtype("auto", "cpu", info)
    assert first in ("float32", "bfloat16")
    (record,) = (tmp_path / "cache").iterdir()
    told = json.loads(record.read_text())
    assert told["bf16"] == (first == "bfloat16") and "A processor" in told["cpu"]
    record.write_text(json.dumps({**told, "bf16": not told["bf16"]}))
    assert resolve_dtype("auto", "cpu", info) != first, "what was decided stands"


def test_a_wish_is_kept_and_half_precision_is_for_gpus() -> None:
    assert [resolve_dtype(wish, "cpu") for wish in ("float32", "bfloat16")] == ["float32", "bfloat16"]
    assert resolve_dtype("float16", "cuda") == "float16"
    with pytest.raises(ConfigError, match="for GPUs"):
        resolve_dtype("float16", "cpu")
    with pytest.raises(ConfigError, match="for GPUs"):
        TorchDevice(name="cpu", dtype="float16").check("features.x")
    assert str(torch_dtype("bfloat16")) == "torch.bfloat16"


def test_computing_leaves_threads_and_gradients_as_they_were() -> None:
    import torch

    before = torch.get_num_threads()
    with TorchDevice(name="cpu", dtype="float32").computing():
        assert torch.get_num_threads() == 1 and not torch.is_grad_enabled()
    assert torch.get_num_threads() == before and torch.is_grad_enabled()
