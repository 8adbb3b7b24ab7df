"""A server in this process, over the fake predictor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx

from mmpipe.serve.fake import FakePredictor
from mmpipe.serve.service import Service

SUFFIXES = {"video": (".mp4",), "audio": (".wav", ".mp3"), "image": (".png",), "text": (".txt",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server in this process."""

    client: httpx.AsyncClient
    service: Service
    predictor: FakePredictor
    folder: Path  # where uploads lie

    async def ask(self, **files: bytes) -> httpx.Response:
        """Send a form with one file per role."""
        form = {role: (f"../../{role}.bin", data, "application/octet-stream") for role, data in files.items()}
        return await self.client.post("/v1/predict", files=form)

    async def metrics(self) -> dict[str, float]:
        """Return every sample by its name and labels."""
        text = (await self.client.get("/metrics")).text
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def left_on_disk(self) -> list[Path]:
        """Return the files of uploads that are still there."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


Serve = Callable[..., AbstractAsyncContextManager[Served]]
