from __future__ import annotations

import pytest

from mmpipe.engine.device.find import Gpu, choose_gpus
from mmpipe.errors import ConfigError

TWO = tuple(Gpu(index=n, name=f"GPU {n}", memory_bytes=80 << 30, is_cuda=True) for n in range(2))


@pytest.mark.parametrize(
    ("device", "found"),
    [("cpu", []), ("auto", ["cuda:0", "cuda:1"]), ("cuda", ["cuda:0", "cuda:1"]), ("cuda:1", ["cuda:1"])],
)
def test_what_the_config_says_of_two_gpus(device: str, found: list[str]) -> None:
    assert [spec.device for spec in choose_gpus(device, TWO)] == found


def test_without_a_gpu_auto_is_none_and_a_wish_is_refused() -> None:
    assert choose_gpus("auto", ()) == ()
    with pytest.raises(ConfigError, match='device = "cuda": torch sees no such GPU here; there are: none'):
        choose_gpus("cuda", ())
    with pytest.raises(ConfigError, match=r"there are: cuda:0 \(GPU 0\), cuda:1 \(GPU 1\)"):
        choose_gpus("cuda:2", TWO)


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [(None, ["0", "1"]), ("3,5", ["3", "5"]), ("GPU-aa, MIG-bb", ["GPU-aa", "MIG-bb"]), ("1,0,7", ["1", "0"])],
)
def test_each_process_sees_its_own_gpu_alone(visible: str | None, numbers: list[str]) -> None:
    specs = choose_gpus("cuda", TWO, visible)
    assert [spec.environment["CUDA_VISIBLE_DEVICES"] for spec in specs] == numbers
    assert {spec.inner for spec in specs} == {"cuda:0"}
    assert [spec.device for spec in specs] == ["cuda:0", "cuda:1"]  # as the config and reports count


def test_other_makers_gpus_are_counted_and_not_hidden() -> None:
    (spec,) = choose_gpus("cuda", [Gpu(index=0, name="other", memory_bytes=1, is_cuda=False)], "0")
    assert spec.inner == "" and spec.environment == {}
