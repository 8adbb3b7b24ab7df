"""Same seed, same bytes: the state of torch that a training run needs, put back when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from mmpipe.types import digest_of


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Run with deterministic algorithms on so many threads; the caller's random state and settings come back.

    Sums are split by thread, so equal bytes need an equal number of threads: 1 gives the same everywhere
    (on the same instruction set), and is the fastest for small networks.
    """
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]), on_threads(threads):
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Run torch on so many threads; the caller's number comes back.

    One is right for small tensors: on a busy machine two threads spin, each waiting for the other (ten times slower).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reseed(seed: int, purpose: str, epoch: int = 0) -> None:
    """Seed torch's CPU generator as a pure function of these: a resumed epoch draws what the first one drew."""
    torch.default_generator.manual_seed(_number(seed, purpose, epoch))


def epoch_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of the clips in an epoch: a pure function of its arguments."""
    return np.random.Generator(np.random.PCG64(_number(seed, "order", epoch))).permutation(num_clips)


def _number(seed: int, purpose: str, epoch: int) -> int:
    return int(digest_of("train", seed, purpose, epoch)[:15], 16)
