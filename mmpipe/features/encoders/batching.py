"""What runs through an encoder together: items of like length, within a budget, and less at once when memory is short.

A bucket is a batch of items; its cost is the number of units (tokens, samples, frames) when all are as long as the
longest. Sorting by length keeps the waste of padding under a tenth; the results come back in the order of the items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")
Finish = Callable[[], Sequence[_T]]
Launch = Callable[[Sequence[int]], Finish[_T]]
_MOST_WASTE = 0.05  # of a batch that is large enough already
_GROW_AFTER = 8  # batches without a failure before more is tried at once
_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "failed to allocate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may run at once."""

    items: int  # most items of a batch
    units: int = 0  # most units of a batch, padding counted; 0: no bound
    enough: int = 0  # units that keep the processor busy: such a batch ends before padding wastes much; 0: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What an encoder was given: units on purpose, and those that filled batches up."""

    used: int = 0
    padded: int = 0

    def __iter__(self) -> Iterator[int]:
        """Yield both: `used, padded = units`."""
        return iter((self.used, self.padded))

    def __add__(self, other: Units) -> Units:
        """Return both together."""
        return Units(used=self.used + other.used, padded=self.padded + other.padded)

    def __sub__(self, other: Units) -> Units:
        """Return what came after `other`."""
        return Units(used=self.used - other.used, padded=self.padded - other.padded)


def buckets(lengths: Sequence[int], budget: Budget) -> list[tuple[int, ...]]:
    """Return the items' numbers in batches of like length, the longest first; an item over the budget goes alone.

    The longest come first, so that what does not fit into memory shows at once. Equal lengths keep their order.
    """
    found: list[tuple[int, ...]] = []
    batch: list[int] = []
    used = 0
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        longest = lengths[batch[0]] if batch else lengths[number]
        cost = longest * (len(batch) + 1)
        wasteful = 0 < budget.enough <= used and cost - used - lengths[number] > _MOST_WASTE * cost
        if batch and (len(batch) >= budget.items or (budget.units and cost > budget.units) or wasteful):
            found.append(tuple(batch))
            batch, used = [], 0
        batch.append(number)
        used += lengths[number]
    return [*found, tuple(batch)] if batch else found


class BatchRunner:
    """Run items through an encoder in batches, one of them in flight; `units` counts what was given to it.

    A batch that does not fit into memory is halved, and so are those after it; after some successes twice as much is
    tried again. Raise MemoryError where a single item does not fit: the engine knows what to do.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.units = Units()
        self.num_halved = 0
        self._most = budget.items
        self._successes = 0

    def run(self, lengths: Sequence[int], launch: Launch[_T]) -> list[_T]:
        """Return one result per item, in order.

        `launch` starts a batch, given the items' numbers, and returns what waits for its results: on a GPU the next
        batch is prepared meanwhile.
        """
        results: dict[int, _T] = {}
        for numbers, finished in self._finished(lengths, launch):
            assert len(finished) == len(numbers), f"{len(finished)} results for a batch of {len(numbers)}"
            results.update(zip(numbers, finished, strict=True))
            longest = max(lengths[number] for number in numbers)
            used = sum(lengths[number] for number in numbers)
            self.units += Units(used=used, padded=longest * len(numbers) - used)
        return [results[number] for number in range(len(lengths))]

    def _finished(self, lengths: Sequence[int], launch: Launch[_T]) -> Iterator[tuple[tuple[int, ...], Sequence[_T]]]:
        """Yield batches and their results; what failed for want of memory comes again in halves."""
        waiting = list(reversed(buckets(lengths, self.budget)))
        flying: tuple[tuple[int, ...], Finish[_T]] | None = None
        while waiting or flying:
            numbers = self._next(waiting)
            started: Finish[_T] | None = None
            if numbers:
                started = self._try(numbers, partial(launch, numbers), waiting, alone=flying is None)
            if flying:
                done = self._try(flying[0], flying[1], waiting, alone=started is None)
                if done is not None:
                    self._succeeded()
                    yield flying[0], done
            flying = (numbers, started) if started else None

    def _next(self, waiting: list[tuple[int, ...]]) -> tuple[int, ...]:
        """Take the next batch, or as much of it as may run at once now."""
        if not waiting:
            return ()
        numbers = waiting.pop()
        if len(numbers) > self._most:
            waiting.append(numbers[self._most :])
        return numbers[: self._most]

    def _try(
        self, numbers: tuple[int, ...], work: Callable[[], _R], waiting: list[tuple[int, ...]], *, alone: bool
    ) -> _R | None:
        """Do a part of a batch's work; put it back and return None where memory is short.

        `alone` says that no other batch is in flight, whose memory would be free later.
        """
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(numbers) == 1 and alone:
                raise MemoryError(f"one item alone does not fit into the encoder's memory: {error}") from error
        # After the except clause: the error's trace would hold the tensors that must go.
        free_memory()
        self._most = max(1, len(numbers) // 2)
        self._successes = 0
        self.num_halved += 1
        waiting.append(numbers)
        return None

    def _succeeded(self) -> None:
        self._successes += 1
        if self._successes >= _GROW_AFTER and self._most < self.budget.items:
            self._most = min(self.budget.items, 2 * self._most)
            self._successes = 0


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is short: torch says it by class on a GPU, by words on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def free_memory() -> None:
    """Give back what torch keeps of a GPU's memory, so that pieces of another size fit."""
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")  # a double in a test needs none
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
