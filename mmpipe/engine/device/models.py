"""What is loaded on a device: everything that was asked for while memory allows, else what was used last."""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, runtime_checkable

from mmpipe.engine.device.meter import SharedMeter
from mmpipe.types import FeatureValue

_Result = TypeVar("_Result")


class Encoder(Protocol):
    """The part of an extractor that a device's process uses."""

    def setup(self, device: str) -> None:
        """Load what is loaded once; `device` is "cpu", "cuda" or "cuda:0"."""

    def extract(self, batch: Sequence[Any]) -> list[FeatureValue]:
        """Return one value per clip, in order."""


@runtime_checkable
class StagingEncoder(Protocol):
    """An encoder that can bring media to the device ahead of their turn; both calls together equal `extract`."""

    def stage(self, batch: Sequence[Any]) -> object:
        """Start copies on a stream of their own and return what `extract_staged` takes; called from another thread."""

    def extract_staged(self, staged: object) -> list[FeatureValue]:
        """Return one value per clip, in order, of media that were staged."""


Opener = Callable[[str], Encoder]


def units_of(encoder: Encoder) -> tuple[int, int]:
    """Return the units that an encoder was given on purpose so far, and those that filled its batches up."""
    units = getattr(encoder, "units", (0, 0))
    used, padded = units if isinstance(units, tuple) else (units.used, units.padded)
    return int(used), int(padded)


class LoadedEncoders:
    """The encoders of one device by specification, the one that was used last at the end; for one thread."""

    def __init__(
        self, open_encoder: Opener, device: str, meter: SharedMeter, guard: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._open = open_encoder
        self._device = device
        self._meter = meter
        self._guard = guard  # no staging while memory is given back
        self._loaded: OrderedDict[str, Encoder] = OrderedDict()

    def find(self, spec: str) -> Encoder | None:
        """Return what is loaded, None where it is not; for any thread."""
        return self._loaded.get(spec)

    def load(self, spec: str) -> Encoder:
        """Return what a specification names, loaded; others make room where it does not fit beside them."""
        if spec not in self._loaded:
            encoder = self._with_room(lambda: self._set_up(spec))
            self._meter.add(loads=1)
            self._loaded[spec] = encoder
        self._loaded.move_to_end(spec)
        return self._loaded[spec]

    def compute(self, spec: str, work: Callable[[], _Result]) -> _Result:
        """Do work with an encoder; where memory ran out all the same, once more with all others evicted."""
        try:
            return work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._meter.add(out_of_memory=1)
        self._evict(keep=spec)  # outside of the handler: the exception held frames, and they held tensors
        return work()

    def _set_up(self, spec: str) -> Encoder:
        encoder = self._open(spec)
        encoder.setup(self._device)
        return encoder

    def _with_room(self, work: Callable[[], Encoder]) -> Encoder:
        """Load, evicting what was not used for the longest time, one after another, until it fits."""
        while True:
            try:
                return work()
            except Exception as error:
                if not is_out_of_memory(error) or not self._loaded:
                    raise
                self._meter.add(out_of_memory=1)
            self._evict_oldest()

    def _evict(self, keep: str) -> None:
        for spec in [spec for spec in self._loaded if spec != keep]:
            self._loaded.move_to_end(spec, last=False)
            self._evict_oldest()
        with self._guard():
            _give_memory_back()

    def _evict_oldest(self) -> None:
        with self._guard():
            _, encoder = self._loaded.popitem(last=False)
            close = getattr(encoder, "close", None)
            if close is not None:
                close()
            del encoder
            self._meter.add(evictions=1)
            _give_memory_back()


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception means that memory ran out, the device's or the process's; torch need not be there."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()


def _give_memory_back() -> None:
    """Let go of what nobody uses, also on the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
