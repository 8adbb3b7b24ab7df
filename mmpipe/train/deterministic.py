"""Same seed, same bytes: the state of torch that a training run needs, put back when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from mmpipe.types import digest_of


@contextmanager
def deterministic(threads: int, *, strict: bool = True, cuda: bool = False) -> Iterator[None]:
    """Run on so many threads, if `strict` with deterministic algorithms; the caller's state and settings come back.

    Sums are split by thread, so equal bytes need an equal number of threads: 1 gives the same everywhere
    (on the same instruction set), and is the fastest for small networks.
    """
    was_strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    if strict and cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first matrix product
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if cuda else []), on_threads(threads):
        torch.use_deterministic_algorithms(strict)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_strict, warn_only=warn_only)


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
    """Seed torch's generators as a pure function of these: a resumed epoch draws what the first one drew."""
    number = _number(seed, purpose, epoch)
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(number)


def random_state(*, cuda: bool) -> dict[str, Tensor]:
    """Return the states of torch's generators, to go on from in the middle of an epoch."""
    state = {"cpu": torch.get_rng_state()}
    return {**state, "cuda": torch.cuda.get_rng_state()} if cuda else state


def restore_random_state(state: Mapping[str, Tensor]) -> None:
    """Go on from a state that `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])


def epoch_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of the clips in an epoch: a pure function of its arguments."""
    return np.random.Generator(np.random.PCG64(_number(seed, "order", epoch))).permutation(num_clips)


def _number(seed: int, purpose: str, epoch: int) -> int:
    return int(digest_of("train", seed, purpose, epoch)[:15], 16)
