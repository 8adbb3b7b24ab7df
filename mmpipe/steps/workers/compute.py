"""Where a feature is computed: in the worker itself, or by the process that has the device.

A worker keeps its extractors once they are set up: a model is loaded once a run, not once a shard.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mmpipe.config import EngineConfig
from mmpipe.engine.device.find import find_gpus
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import Extractor, extractor_behind, fingerprint, units_of, uses_device
from mmpipe.steps.workers.device_client import open_device_client
from mmpipe.types import ClipMedia, FeatureValue

CPU, CUDA = "cpu", "cuda"
_MOST_KEPT = 16  # extractors that are set up in one process; the one used longest ago goes


class Computer(Protocol):
    """Computes values of one feature, wherever that is."""

    @property
    def units(self) -> tuple[int, int]:
        """Return the tokens, windows or frames that it was given on purpose so far, and those that filled up."""

    def extract(self, media: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return one value per clip, in order; raise SampleError for a clip that cannot have one."""


@runtime_checkable
class AheadComputer(Computer, Protocol):
    """A computer elsewhere: it computes one batch while the next is decoded here."""

    def submit(self, media: Sequence[ClipMedia]) -> object:
        """Send a batch; return what `collect` takes."""

    def collect(self, ticket: Any) -> list[FeatureValue]:
        """Wait for the values of a batch; raise as `extract` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalComputer:
    """Computes in this process."""

    extractor: Extractor  # set up

    @property
    def units(self) -> tuple[int, int]:
        """Return what the extractor says of itself."""
        return units_of(self.extractor)

    def extract(self, media: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return what the extractor makes."""
        return self.extractor.extract(media)


def open_computer(
    extractor: Extractor, device: str, address: str = "", on_wait: Callable[[], None] | None = None
) -> Computer:
    """Return what computes an extractor's values; the same one as before where it was asked for already.

    `device` is "cpu", "cuda" or "cuda:0", and counts for extractors that use one. `address` is where the processes
    listen that have the devices (`on_wait` is called now and then while one is waited for); "": there are none, and
    the model is loaded here.
    """
    if not uses_device(extractor):
        return _open_local(extractor, CPU)
    if address:
        return open_device_client(extractor, address, on_wait)
    return _open_local(extractor, device)


_kept: OrderedDict[tuple[type, str, str, str], LocalComputer] = OrderedDict()


def _open_local(extractor: Extractor, device: str) -> LocalComputer:
    """Set an extractor up, or return the one that is: also where two features of one model differ in their names."""
    behind = extractor_behind(extractor)
    # The parameters too: one that changes the speed alone is not in the fingerprint.
    place = type(behind), fingerprint(behind), repr(behind.params), device
    if place not in _kept:
        behind.setup(device)
        _kept[place] = LocalComputer(extractor=behind)
        if len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(place)
    return _kept[place]


def resolve_device(
    engine: EngineConfig, extractors: Iterable[Extractor], has_cuda: Callable[[], bool] | None = None
) -> str:
    """Return the device of a run: asked once, by the process that plans it.

    `auto` is a GPU where there is one; of a Ray cluster, where its workers hold one. Torch is asked only where there is
    a driver, and in a process of its own. ConfigError: a GPU is asked for and there is none.
    """
    return device_of(engine, has_cuda) if any(uses_device(extractor) for extractor in extractors) else CPU


def device_of(engine: EngineConfig, has_cuda: Callable[[], bool] | None = None) -> str:
    """Return the device of extractors that use one. ConfigError: a GPU is asked for and there is none."""
    wish = engine.device
    if wish == CPU:
        return CPU
    if engine.kind == "ray":
        held = CUDA if engine.ray.gpus_per_worker else CPU
        return held if wish == "auto" else wish
    there = has_cuda() if has_cuda else bool(find_gpus())
    if wish == "auto":
        return CUDA if there else CPU
    if not there:
        raise ConfigError(
            f'engine.device = "{wish}", and torch sees no such device here. Take device = "auto" or "cpu", or install '
            "a build of torch for this machine's GPU and its driver."
        )
    return wish
