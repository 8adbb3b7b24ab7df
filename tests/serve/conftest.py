"""What the tests of the server share: their helper module, and a client of a server in the same process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from served import SUFFIXES, Serve, Served

from mmpipe.serve.app import make_app
from mmpipe.serve.fake import FakePredictor
from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.service import Service


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return what serves the fake predictor while a block runs."""

    @asynccontextmanager
    async def serving(
        predictor: FakePredictor | None = None, api_key: str = "", is_ready: bool = True, **limits: Any
    ) -> AsyncIterator[Served]:
        predictor = predictor or FakePredictor()
        service = Service(ServeLimits(**{"upload_bytes": 1 << 20, **limits}), SUFFIXES, tmp_path)
        app = make_app(lambda: service, api_key)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            if is_ready:
                await service.take_over(predictor)
            yield Served(client=client, service=service, predictor=predictor, folder=tmp_path)
            predictor.gate.set()
            await service.close()

    return serving
