"""Committed partitions as asset events of Prefect's, for those who want to see or act on them there.

Lineage is the registry's: every version names its snapshot, manifests and files. These events only repeat a part of
it, so they are sent where MMPIPE_ASSET_EVENTS is "1" and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict

from prefect.events import Event, emit_event

from mmpipe.steps.ground.committed import CommittedPartition

SWITCH_VARIABLE = "MMPIPE_ASSET_EVENTS"
MATERIALIZED = "prefect.asset.materialization.succeeded"
MADE_BY = "mmpipe"


def tells_assets() -> bool:
    """Say whether somebody asked for the events."""
    return os.environ.get(SWITCH_VARIABLE) == "1"


def asset_key(partition: CommittedPartition) -> str:
    """Return the key of an asset: the same for all revisions of one partition."""
    return f"mmpipe://{partition.corpus}/{partition.feature}/dt={partition.partition}"


def tell_materialized(partitions: Iterable[CommittedPartition]) -> list[Event]:
    """Send an event for each partition that has a new revision, and return what was sent."""
    sent = (_tell(partition) for partition in sorted(partitions, key=asset_key))
    return [event for event in sent if event]


def _tell(partition: CommittedPartition) -> Event | None:
    return emit_event(
        event=MATERIALIZED,
        resource={
            "prefect.resource.id": asset_key(partition),
            "prefect.resource.name": f"{partition.feature} of {partition.corpus}, {partition.partition}",
        },
        related=[{"prefect.resource.id": MADE_BY, "prefect.resource.role": "asset-materialized-by"}],
        payload=asdict(partition),
    )
