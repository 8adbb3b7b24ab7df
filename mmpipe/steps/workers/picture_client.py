"""Have pictures made by a process that has a GPU's decoder: a `PictureMaker` for `decode_clips`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from mmpipe.engine.device.culprits import RemoteError, settle
from mmpipe.engine.device.link import DeviceLink
from mmpipe.errors import SampleError
from mmpipe.media.picture_maker import UNSUPPORTED, CannotUseGpu, unflatten
from mmpipe.types import EncodedPictures

_SPEC = "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMaker:
    """Asks a decoder process; for one thread."""

    link: DeviceLink

    def make(self, run: EncodedPictures) -> list[np.ndarray]:
        """Return the pictures that the process made.

        CannotUseGpu: it cannot decode this run, now or ever. SampleError device_killed or device_memory: the run ended
        its process twice, or does not fit beside what else the device holds; that depends on the moment, so the CPU
        must not step in: nobody could tell which of the two made a value. ShardError and TransientError: no device.
        """
        feature = self.link.announce(_SPEC)
        try:
            settled = settle(self.link, feature, [run], self.link.collect(self.link.submit(feature, [run])))
        except RemoteError as error:
            raise CannotUseGpu("nvdec_error", f"{type(error).__name__}: {error}") from error
        except SampleError as error:
            if error.code == UNSUPPORTED:
                raise CannotUseGpu(error.code, error.detail) from error
            raise
        (found,) = settled.clips
        if isinstance(found, SampleError):
            raise found
        return unflatten(run, found.array)


def open_maker(address: str, on_wait: Callable[[], None]) -> DeviceMaker | None:
    """Return what makes pictures at an address, `DevicePool.address`; None where there is none.

    `on_wait` is called every second or so while the device is waited for.
    """
    if not address:
        return None
    link = _link(address)
    link.on_wait = on_wait
    return DeviceMaker(link=link)


@cache
def _link(address: str) -> DeviceLink:
    return DeviceLink(Path(address))
