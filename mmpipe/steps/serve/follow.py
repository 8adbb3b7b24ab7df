"""Follow an alias: where it moves to another version, that one is loaded beside the old, and takes over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from mmpipe.errors import MmpipeError
from mmpipe.serve.predictor import Predictor
from mmpipe.serve.service import Service

_LOG = logging.getLogger(__name__)
_TRY_AGAIN_S = 60.0  # after a version that could not be loaded


@dataclass(slots=True, kw_only=True)
class Follower:
    """Watches where a reference points, and brings what it names into service."""

    label_now: Callable[[], str]  # cheap: a small file
    load: Callable[[str], Predictor]
    every_s: float
    _refused: dict[str, float] = field(default_factory=dict)  # label -> when it could not be loaded

    async def begin(self, service: Service) -> None:
        """Load the first version; raise what keeps it from being loaded."""
        loop = asyncio.get_running_loop()
        label = await loop.run_in_executor(None, self.label_now)
        await _take_over(service, await loop.run_in_executor(None, self.load, label))

    async def follow(self, service: Service) -> None:
        """Look again and again, until cancelled; what cannot be loaded leaves the old version in service."""
        while True:
            await asyncio.sleep(self.every_s)
            await self.look(service)

    async def look(self, service: Service) -> None:
        """Take over what the reference names now, where it is another version."""
        loop = asyncio.get_running_loop()
        lane = service.host.lane
        try:
            label = await loop.run_in_executor(None, self.label_now)
        except (MmpipeError, OSError) as error:
            _LOG.warning("it cannot be seen which version is meant: %s", error)
            return
        if not label or (lane and lane.predictor.version == label):
            return
        if loop.time() - self._refused.get(label, -_TRY_AGAIN_S) < _TRY_AGAIN_S:
            return
        try:
            await _take_over(service, await loop.run_in_executor(None, self.load, label))
        except Exception as error:  # noqa: BLE001 - whatever it is, the old version goes on
            self._refused[label] = loop.time()
            service.meters.swaps.labels("failed").inc()
            _LOG.error("%s cannot take over, the version before it stays: %s", label, error)
            return
        service.meters.swaps.labels("done").inc()
        _LOG.warning("%s answers from now on", label)


async def _take_over(service: Service, predictor: Predictor) -> None:
    """Bring a version into service, or close it: whoever warms it up then is cancelled."""
    try:
        await service.take_over(predictor)
    except BaseException:
        await asyncio.get_running_loop().run_in_executor(None, predictor.close)
        raise
