"""Buckets of like length, results in order, and an encoder that is given less when memory is short."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import pytest

from mmpipe.features.encoders.batching import BatchRunner, Budget, Units, buckets, is_out_of_memory


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> None:
    """Spare the collector what other tests have left: each want of memory is a full collection, and here are many."""
    gc.collect()
    gc.freeze()


class SmallDevice:
    """An encoder whose memory holds so many items at once, in flight or not."""

    def __init__(self, room: int, message: str = "CUDA out of memory. Tried to allocate 2.00 GiB") -> None:
        self.room = room
        self.message = message
        self.in_use = 0
        self.sizes: list[int] = []

    def launch(self, numbers: Sequence[int]) -> Callable[[], list[int]]:
        if self.in_use + len(numbers) > self.room:
            raise RuntimeError(self.message)
        self.in_use += len(numbers)
        self.sizes.append(len(numbers))

        def finish() -> list[int]:
            self.in_use -= len(numbers)
            return [number * 10 for number in numbers]

        return finish


def test_items_of_like_length_run_together_and_every_item_once() -> None:
    lengths = [3, 90, 5, 88, 4, 1, 91]
    found = buckets(lengths, Budget(items=3, units=300))
    assert found == [(6, 1, 3), (2, 4, 0), (5,)]
    assert all(max(lengths[n] for n in batch) * len(batch) <= 300 for batch in found)
    assert buckets([], Budget(items=3)) == []


def test_an_item_over_the_budget_goes_alone() -> None:
    assert buckets([10, 500, 10], Budget(items=8, units=100)) == [(1,), (0, 2)]


def test_sorting_by_length_wastes_less_than_a_tenth() -> None:
    lengths = [1 + (7919 * number) % 63 for number in range(500)]
    runner = BatchRunner(Budget(items=64, units=1024))
    assert runner.run(lengths, lambda numbers: lambda: list(numbers)) == list(range(500))
    assert runner.units.used == sum(lengths)
    assert runner.units.padded < runner.units.used / 10


def test_results_come_in_the_order_of_the_items() -> None:
    runner = BatchRunner(Budget(items=2))
    assert runner.run([1, 9, 5, 7, 2], SmallDevice(4).launch) == [0, 10, 20, 30, 40]
    assert runner.run([], SmallDevice(4).launch) == []


@pytest.mark.parametrize("room", [1, 2, 3, 5, 7, 40])
def test_out_of_memory_halves_the_batch_and_goes_on(room: int) -> None:
    device = SmallDevice(room)
    runner = BatchRunner(Budget(items=16))
    assert runner.run([1] * 40, device.launch) == [number * 10 for number in range(40)]
    assert device.in_use == 0 and max(device.sizes) <= room
    assert (runner.num_halved > 0) == (room < 16 * 2)
    assert runner.units == Units(used=40)


def test_after_some_successes_more_is_tried_again() -> None:
    device = SmallDevice(2)
    runner = BatchRunner(Budget(items=16))
    runner.run([1] * 30, device.launch)
    device.room, device.sizes = 64, []
    runner.run([1] * 400, device.launch)
    assert max(device.sizes) == 16


def test_one_item_that_does_not_fit_is_for_the_engine() -> None:
    with pytest.raises(MemoryError, match="one item alone"):
        BatchRunner(Budget(items=4)).run([1, 1], SmallDevice(0).launch)


def test_another_fault_is_no_want_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        BatchRunner(Budget(items=4)).run([1, 1], SmallDevice(0, "mat1 and mat2 shapes cannot be multiplied").launch)


def test_torch_says_it_in_several_ways() -> None:
    import torch

    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)


def test_a_batch_that_is_large_enough_ends_before_padding_wastes_much() -> None:
    lengths = [100, 20, 20, 5, 5, 5, 5, 5]
    assert buckets(lengths, Budget(items=8)) == [(0, 1, 2, 3, 4, 5, 6, 7)]
    assert buckets(lengths, Budget(items=8, enough=30)) == [(0,), (1, 2), (3, 4, 5, 6, 7)]
    assert buckets(lengths, Budget(items=8, enough=200)) == [(0, 1, 2, 3, 4, 5, 6, 7)]
