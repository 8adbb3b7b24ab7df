"""The door to the server's artifacts, and a real one that keeps them in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.utilities.context import get_task_and_flow_run_ids

TIMEOUT_S = 10.0


class Kind(StrEnum):
    """How the UI paints an artifact. Not "image": that one also writes the picture's whole address under it."""

    TABLE = "table"
    MARKDOWN = "markdown"
    PROGRESS = "progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One thing on the page of a run; those of one key are each other's history."""

    key: str
    kind: Kind
    data: str | float
    description: str


class ArtifactDoor(Protocol):
    """Where artifacts go; either method may fail with whatever the way there fails with."""

    def put(self, artifact: Artifact) -> UUID:
        """Show something new."""

    def change(self, number: UUID, data: str | float, description: str) -> UUID:
        """Show something else in the same place."""


class ServerDoor:
    """The artifacts of the flow run in progress, on Prefect's server."""

    def __init__(self) -> None:
        """Take the run's number now: what moves a bar later is a thread without a run."""
        _, self._flow_run_id = get_task_and_flow_run_ids()

    def put(self, artifact: Artifact) -> UUID:
        """Show something new."""
        wish = ArtifactCreate(
            key=artifact.key,
            type=artifact.kind,
            data=artifact.data,
            description=artifact.description,
            flow_run_id=self._flow_run_id,
        )
        with _client() as client:
            return client.create_artifact(wish).id

    def change(self, number: UUID, data: str | float, description: str) -> UUID:
        """Show something else in the same place."""
        with _client() as client:
            client.update_artifact(number, ArtifactUpdate(data=data, description=description))
        return number


class KeptArtifacts:
    """A door to memory."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.artifacts: dict[UUID, Artifact] = {}

    def put(self, artifact: Artifact) -> UUID:
        """Keep something new."""
        number = uuid4()
        self.artifacts[number] = artifact
        return number

    def change(self, number: UUID, data: str | float, description: str) -> UUID:
        """Keep something else in its place."""
        self.artifacts[number] = replace(self.artifacts[number], data=data, description=description)
        return number

    def newest(self, key: str) -> Artifact:
        """Return what a person who opens the key sees."""
        return [artifact for artifact in self.artifacts.values() if artifact.key == key][-1]

    def rows(self, key: str) -> list[dict[str, Any]]:
        """Return the rows of the newest table of a key."""
        return list(json.loads(str(self.newest(key).data)))


def table_data(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as the server takes a table; a number that is none, which JSON does not have, as a word."""
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, default=str)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """Open a client of little patience: its own goes on for a minute, and ours begins where it ends."""
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}),
        get_client(httpx_settings={"timeout": TIMEOUT_S}, sync_client=True) as client,
    ):
        yield client
