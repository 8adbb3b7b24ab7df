"""bf16 that is wrong on a machine is refused with the way out, and what was tried once is not tried again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audio_models
import numpy as np
import pytest
import text_models
import torch
from torch import nn

from mmpipe.errors import ConfigError
from mmpipe.features.encoders import half_check
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.half_check import LEAST_COSINE, Tried, require_right_half, watched
from mmpipe.features.registry import make_extractor
from mmpipe.remote import cache_root

ON = TorchDevice(name="cpu", dtype="bfloat16")


class WrongHalf(nn.Linear):
    """A layer whose kernel for bf16 is broken: it gives back half of its outputs with the wrong sign."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y * torch.linspace(-1, 1, y.shape[-1]).sign() if x.dtype == torch.bfloat16 else y


class Toy:
    """A network, and how often it was asked."""

    def __init__(self, last: nn.Module) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), last).bfloat16()
        self.calls = 0

    def run(self) -> None:
        self.calls += 1
        with torch.inference_mode():
            self.network(torch.randn(3, 6).bfloat16())

    def require(self, on: TorchDevice = ON, weights: str = "w", settings: str = "{}") -> None:
        tried = Tried(table="features.audio-hf", model="toy", weights_sha256=weights, settings=settings)
        require_right_half(on, tried, self.network, self.run)


@pytest.fixture(autouse=True)
def nothing_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a process does."""
    monkeypatch.setattr(half_check, "_tried", {})


def forget() -> None:
    """Forget what this process knows: another one begins."""
    half_check._tried.clear()


def test_a_model_is_tried_once_on_a_machine() -> None:
    toy = Toy(nn.Linear(8, 2))
    for _ in range(2):
        toy.require()
    forget()
    toy.require()  # the cache knows
    assert toy.calls == 1
    toy.require(weights="v")
    toy.require(settings='{"pool": "model"}')  # another one may run other layers
    assert toy.calls == 3 == len(list((cache_root() / "bf16").iterdir()))


def test_a_wrong_kernel_is_refused_by_its_name_and_stays_refused() -> None:
    toy = Toy(WrongHalf(8, 4))
    for _ in range(2):
        with pytest.raises(
            ConfigError, match=r'its layer 3 gives other .*at least 0\.99.* Set dtype = "float32" in \['
        ):
            toy.require()
        forget()
    assert toy.calls == 1


def test_layers_are_compared_one_of_a_kind_and_left_as_they_were() -> None:
    toy = Toy(nn.Linear(8, 2))
    before = copy.deepcopy(toy.network.state_dict())
    with watched(toy.network) as found:
        toy.run()
        toy.run()
    assert [layer.layer for layer in found] == ["0", "1", "3"], "2 is like 1"
    assert min(layer.cosine for layer in found) > 0.9999
    toy.run()
    assert len(found) == 3, "nobody looks any more"
    assert all(
        tensor.dtype == torch.bfloat16 and tensor.equal(before[n]) for n, tensor in toy.network.state_dict().items()
    )


def test_numbers_that_overflow_half_the_bits_alone_are_wrong_and_zeros_say_nothing() -> None:
    some, nan = torch.ones(3), torch.full((3,), torch.nan)
    assert half_check._cosine(nan, some) == 0 and half_check._cosine(some, nan) == 1
    assert half_check._cosine(torch.zeros(3), torch.zeros(3)) == 1 and half_check._cosine(torch.zeros(3), some) == 0


def test_a_cache_that_cannot_be_read_or_written_costs_no_more_than_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "file"))
    toy = Toy(nn.Linear(8, 2))
    toy.require()
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "cache"))
    forget()
    toy.require()
    (record,) = (tmp_path / "cache" / "bf16").iterdir()
    record.write_text("{")
    forget()
    toy.require()
    assert toy.calls == 3


@pytest.mark.parametrize("on", [TorchDevice(name="cpu", dtype="float32"), TorchDevice(name="cuda", dtype="bfloat16")])
def test_only_bf16_on_a_cpu_is_tried(on: TorchDevice) -> None:
    toy = Toy(WrongHalf(8, 4))
    toy.require(on)
    assert toy.calls == 0


def test_whole_models_pass_and_leave_a_record(tmp_path: Path) -> None:
    makers: dict[str, Callable[[Path], Any]] = {"text-hf": text_models.make_bert, "audio-hf": audio_models.make_whisper}
    for name, make in makers.items():
        make(tmp_path / name)
        make_extractor(name, {"model": str(tmp_path / name), "dtype": "bfloat16"}).setup("cpu")
    worst = list(half_check._tried.values())
    assert len(worst) == 2 and all(found.layer and 0.999 < found.cosine <= 1.0001 for found in worst)
    assert len(list((cache_root() / "bf16").iterdir())) == 2
    make_extractor("image-resnet50", {"dtype": "bfloat16", "size_px": 64}).setup("cpu")  # plain torch, no layers


@pytest.mark.parametrize("groups", [2, 4])
def test_what_is_refused_is_what_is_wrong_here(tmp_path: Path, groups: int) -> None:
    """Eight channels a group meet a fault of oneDNN on processors with AMX. Others compute them well."""
    network, hears = audio_models.make_wav2vec2(tmp_path, "layer", groups=groups)
    table = {"model": str(tmp_path), "dtype": "bfloat16"}
    if _straight_cosine(network, hears) > LEAST_COSINE + 0.005:
        make_extractor("audio-hf", table).setup("cpu")
    else:
        with pytest.raises(ConfigError, match=r"its layer encoder\.pos_conv_embed\.conv gives other numbers"):
            make_extractor("audio-hf", table).setup("cpu")
    make_extractor("audio-hf", {**table, "dtype": "float32"}).setup("cpu")


def _straight_cosine(network: Any, hears: Any) -> float:
    """Return how near transformers itself comes in bf16 to what it gives in float32."""
    noise = np.random.default_rng(0).standard_normal(16_000)
    given = hears(noise, sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        whole = network(given).last_hidden_state
        half = copy.deepcopy(network).bfloat16()(given.bfloat16()).last_hidden_state.float()
    return float(torch.nn.functional.cosine_similarity(half.flatten(), whole.flatten(), dim=0))
