"""Where an encoder computes, and how numbers get there and back without the device waiting for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.dtype import torch_dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedTensor:
    """A tensor whose copy to a device may still run, beside what is computed there."""

    tensor: Any
    copied: Any  # event of a stream; None where the tensor is there

    def ready(self) -> Any:
        """Return the tensor; what is computed with it from now on waits for the copy, this thread does not."""
        if self.copied is not None:
            import torch

            stream = torch.cuda.current_stream(self.tensor.device)
            stream.wait_event(self.copied)
            self.tensor.record_stream(stream)  # its memory is not given away before that stream has passed
        return self.tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchDevice:
    """A device, and the dtype in which it computes."""

    name: str  # "cpu", "cuda" or "cuda:0"
    dtype: str  # resolved: "float32", "bfloat16" or "float16"

    @property
    def is_gpu(self) -> bool:
        """Return whether copies to it can run beside the computing."""
        return self.name.startswith("cuda")

    def check(self, table: str) -> None:
        """Raise ConfigError where the device cannot compute in this dtype, or the dtype was never decided."""
        assert self.dtype in ("float32", "bfloat16", "float16"), f"{table}: dtype {self.dtype!r} is not decided"
        if self.dtype == "float16" and not self.is_gpu:
            raise ConfigError(f'{table}.dtype = "float16" is for GPUs, and this worker computes on {self.name}')

    def upload(self, array: np.ndarray) -> Any:
        """Return the array as a tensor there, in its own dtype; on a GPU the copy runs on from pinned memory."""
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(self.name, non_blocking=True) if self.is_gpu else tensor

    def stage(self, array: np.ndarray) -> StagedTensor:
        """Start to bring an array there on a stream of its own: from any thread, while something else is computed."""
        import torch

        if not self.is_gpu:
            return StagedTensor(tensor=self.upload(array), copied=None)
        stream, copied = torch.cuda.Stream(self.name), torch.cuda.Event()
        with torch.cuda.stream(stream):
            tensor = self.upload(array)
            copied.record(stream)
        return StagedTensor(tensor=tensor, copied=copied)

    def download(self, tensor: Any) -> Callable[[], np.ndarray]:
        """Start to fetch a tensor as float32 numbers; return what waits for them."""
        import torch

        tensor = tensor.detach().to(torch.float32)
        if not self.is_gpu:
            return tensor.numpy
        here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        here.copy_(tensor, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()

        def wait() -> np.ndarray:
            copied.synchronize()
            return here.numpy().copy()  # pinned memory is scarce: it goes back to torch

        return wait

    @property
    def torch_dtype(self) -> Any:
        """Return the dtype as torch has it."""
        return torch_dtype(self.dtype)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without gradients; on a CPU on one thread, because there is a worker for every core.

        Sums are split by thread: with one, the same numbers come out whatever the number of cores.
        """
        import torch

        threads = torch.get_num_threads()
        try:
            if not self.is_gpu:
                torch.set_num_threads(1)
            with torch.inference_mode():
                yield
        finally:
            if not self.is_gpu:
                torch.set_num_threads(threads)

    def compiled(self, network: Any, wanted: bool) -> Any:
        """Return the network compiled on a GPU if that is wanted; on a CPU it gains nothing (measured)."""
        import torch

        def call(inputs: Any) -> Any:
            return network(inputs)

        return torch.compile(call, dynamic=True) if wanted and self.is_gpu else network
