"""Compute a feature by the process that has the device: a `Computer` for `steps.compute.open_computer`."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mmpipe.engine.device.culprits import Settled, settle
from mmpipe.engine.device.link import DeviceLink, Outcome
from mmpipe.errors import SampleError
from mmpipe.features.extractor import Extractor, extractor_behind
from mmpipe.features.registry import make_extractor
from mmpipe.types import ClipMedia, FeatureValue

_REMEMBERED = 8  # clips that ended the device's process; the caller asks for each alone right after


def open_encoder(spec: str) -> Extractor:
    """Make the extractor that a specification names: what the device's process calls."""
    said = json.loads(spec)
    return make_extractor(said["extractor"], said["params"])


def spec_of(extractor: Extractor) -> str:
    """Return the specification of what computes behind an extractor, parameters outside of the fingerprint too."""
    behind = extractor_behind(extractor)
    return json.dumps({"extractor": behind.name, "params": _plain(behind.params)}, sort_keys=True)


@dataclass(slots=True, kw_only=True)
class Ticket:
    """A micro-batch that is on its way."""

    number: int
    media: Sequence[ClipMedia]


@dataclass(slots=True, kw_only=True)
class DeviceClient:
    """Computes one feature on the device that this worker is seated at.

    `extract` waits for its values. With `submit` and `collect` a second micro-batch is on its way while the first is
    computed; values are those of `extract`, whatever the order.
    """

    link: DeviceLink
    feature: int
    _used: int = 0
    _padded: int = 0
    _guilty: deque[tuple[ClipMedia, SampleError]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def units(self) -> tuple[int, int]:
        """Return the units that the encoder was given on purpose so far, and those that filled its batches up."""
        return self._used, self._padded

    def extract(self, media: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return one value per clip, in order; raise what the extractor raised, or SampleError for a deadly clip."""
        return self.collect(self.submit(media))

    def submit(self, media: Sequence[ClipMedia]) -> Ticket:
        """Send a micro-batch, waiting while two are on their way; raise TransientError where no device is left."""
        for clip, error in self._guilty:
            if any(clip is one for one in media):
                raise error
        return Ticket(number=self.link.submit(self.feature, media), media=media)

    def collect(self, ticket: Ticket) -> list[FeatureValue]:
        """Wait for the values of a micro-batch; raise as `extract` does."""
        settled = self._settle(ticket.media, self.link.collect(ticket.number))
        values: list[FeatureValue] = []
        errors: list[SampleError] = []
        for clip, found in zip(ticket.media, settled.clips, strict=True):
            if isinstance(found, SampleError):
                self._guilty.append((clip, found))
                errors.append(found)
            else:
                values.append(found)
        if errors:
            raise errors[0]
        return values

    def _settle(self, media: Sequence[ClipMedia], outcome: Outcome) -> Settled:
        settled = settle(self.link, self.feature, media, outcome)
        self._used += settled.used_units
        self._padded += settled.padded_units
        return settled


def open_device_client(extractor: Extractor, address: str, on_wait: Callable[[], None] | None = None) -> DeviceClient:
    """Return what computes an extractor's values at an address, `DevicePool.address`.

    All features of a worker share one line. `on_wait` is called every second or so while the device is waited for:
    say to the engine that this worker lives, or its timeout takes the wait for a hang.
    """
    return client_of(spec_of(extractor), address, on_wait)


def client_of(spec: str, address: str, on_wait: Callable[[], None] | None = None) -> DeviceClient:
    """Return what computes the values of what a specification names."""
    link = _link(address)
    if on_wait is not None:
        link.on_wait = on_wait
    return DeviceClient(link=link, feature=link.announce(spec))


@cache
def _link(address: str) -> DeviceLink:
    return DeviceLink(Path(address))


def _plain(value: Any) -> Any:
    """Return parameters as JSON has them, those that the fingerprint leaves out too."""
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
