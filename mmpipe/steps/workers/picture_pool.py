"""The processes that make pictures by a GPU's own decoder: a few per GPU, shared by the tasks of this process.

Each is one decode session, so their number bounds what decoding takes of a device beside the encoders. They are
confined as a decode worker is (no network, no core dumps, no new privileges, ended with their parent), see no file of a
corpus, only containers that workers wrote, and are started again when a run of pictures ends them. What a hostile
stream could still reach is the GPU itself and its driver: confinement here is by name spaces and limits, which leave
/dev/nvidia* open, because nothing on the GPU could be done without.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from mmpipe.config import EngineConfig
from mmpipe.engine.device.find import Gpu, choose_gpus, find_gpus, visible_gpus
from mmpipe.engine.device.process import DeviceProcesses, DeviceSpec
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import Extractor, feature_name
from mmpipe.media.confine import limit_process, observe_process
from mmpipe.media.picture_maker import PictureMaker, PyAvMaker, flatten
from mmpipe.steps.workers.device_pool import SERVE_CPU, DevicePool, device_specs
from mmpipe.types import EncodedPictures, FeatureValue, VideoNeeds

OPENER = "mmpipe.steps.workers.picture_pool:open_server"
SETUP = "mmpipe.steps.workers.picture_pool:set_up_decoder"
_WAY_OUT = 'Take decoder = "cpu" for it: that is another feature, with a fingerprint of its own'
_lock = threading.Lock()
_processes: DeviceProcesses | None = None
_users = 0


class PictureServer:
    """What a decoder process does: a run of pictures in, their pixels out, one form after another."""

    def __init__(self) -> None:
        self._maker: PictureMaker = PyAvMaker()

    def setup(self, device: str) -> None:
        """Load torchcodec where the device is a GPU; on "cpu" PyAV stands in for it, for tests of the whole way."""
        if device.startswith("cuda"):
            from mmpipe.media.nvdec import TorchcodecMaker

            self._maker = TorchcodecMaker(device)

    def extract(self, batch: Sequence[EncodedPictures]) -> list[FeatureValue]:
        """Return the pixels of each run, uint8 [N]; raise what a `PictureMaker` raises."""
        return [FeatureValue(array=flatten(self._maker.make(run))) for run in batch]


def open_server(_spec: str) -> PictureServer:
    """Return what a decoder process serves: the same for every specification."""
    return PictureServer()


def set_up_decoder(device: str) -> None:
    """Confine a decoder process as a worker that reads raw bytes, and prove that it is; only then is torch loaded."""
    limit_process()
    if faults := observe_process().faults():
        raise ConfigError(f"a decoder process cannot be confined on this system: {', '.join(faults)}")
    if not device.startswith("cuda"):
        return
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f"the decoder of {device} cannot use it: torch {torch.__version__} finds no GPU there")


def asks_for_nvdec(extractor: Extractor) -> bool:
    """Say whether a feature's pictures are to be made by a GPU's decoder."""
    return isinstance(extractor.needs, VideoNeeds) and extractor.needs.decoder == "nvdec"


def picture_specs(
    engine: EngineConfig,
    extractors: Iterable[Extractor],
    find: Callable[[], Sequence[Gpu]] = find_gpus,
    examine: Callable[[], tuple[str, str]] | None = None,
) -> tuple[DeviceSpec, ...]:
    """Return the decoder processes that features need, none where no feature asks for NVDEC.

    ConfigError, before any work: it cannot be used here. The CPU is never taken instead: its pixels are others, and
    the fingerprint would say that they are these.
    """
    asking = sorted(feature_name(extractor) for extractor in extractors if asks_for_nvdec(extractor))
    if not asking:
        return ()
    what = f'{", ".join(asking)}: decoder = "nvdec"'
    if engine.kind != "local":
        raise ConfigError(f'{what} is for engine.kind = "local": workers of a cluster decode themselves. {_WAY_OUT}.')
    if os.environ.get(SERVE_CPU, "0") != "0":
        return tuple(device_specs("cpu"))
    if engine.device == "cpu":
        raise ConfigError(f'{what} needs a GPU, and engine.device = "cpu" takes none. {_WAY_OUT}.')
    gpus = [gpu for gpu in find() if gpu.is_cuda]
    if not gpus:
        raise ConfigError(f"{what} needs an NVIDIA GPU that torch can use, and there is none here. {_WAY_OUT}.")
    _, problem = (examine or _examine)()
    if problem:
        raise ConfigError(f"{what} cannot be used here: {problem}. {_WAY_OUT}.")
    specs = choose_gpus("cuda" if engine.device == "auto" else engine.device, gpus, visible_gpus())
    return tuple(spec for _ in range(engine.nvdec_sessions) for spec in specs)


def _examine() -> tuple[str, str]:
    from mmpipe.media.nvdec import examine_nvdec

    return examine_nvdec()


@contextmanager
def shared_pictures(specs: Sequence[DeviceSpec]) -> Iterator[DevicePool]:
    """Enter the process's decoder processes: the first one in starts them, the last one out leaves none behind."""
    global _processes, _users
    if not specs:
        yield DevicePool(None)
        return
    with _lock:
        if _processes is None:
            _processes = DeviceProcesses(specs, OPENER, SETUP, kind="decoder")
        processes = _processes
        _users += 1
    try:
        yield DevicePool(processes)
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _processes = None
                processes.close()
