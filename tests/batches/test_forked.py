"""A DataLoader's workers end well, whatever the process that they were forked from has going."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

import mmpipe
from mmpipe.batches.forked import leave_parents_services, without_services
from mmpipe.batches.torch_batches import TorchBatch
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

SCHEMA = FeatureSchema(feature="text-one@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=3, dtype="float32")


@pytest.fixture
def prefect_service() -> Iterator[None]:
    """Run a service as a flow run does that sends its logs; it leaves a hook for the end of this process."""
    from prefect._internal.concurrency.api import create_call, from_sync
    from prefect._internal.concurrency.services import QueueService

    class Swallow(QueueService[int]):
        async def _handle(self, item: int) -> None:
            await asyncio.sleep(0)

    async def begin() -> None:
        Swallow.instance().send(1)

    from_sync.call_soon_in_loop_thread(create_call(begin)).result()
    yield
    Swallow.drain_all()


@pytest.mark.usefixtures("prefect_service")
def test_workers_of_a_process_that_runs_a_flow_end_well(tmp_path: Path) -> None:
    make_sample_store(tmp_path / "store", [SampleFeature(schema=SCHEMA)], shards=2, shard_clips=4)
    dataset = mmpipe.open(tmp_path / "store" / "sample", features=[SCHEMA.feature]).torch_batches(2)
    keys = [batch.keys for batch in dataset]
    loader: DataLoader[TorchBatch] = DataLoader(dataset, num_workers=2, batch_size=None)  # type: ignore[arg-type]
    assert [batch.keys for batch in loader] == keys


@pytest.mark.usefixtures("prefect_service")
def test_only_those_services_are_left_behind() -> None:
    kept = threading.main_thread().join
    hooks = [*threading._threading_atexits, kept, print]  # type: ignore[attr-defined]
    left = without_services(hooks)
    assert left[-2:] == [kept, print] and len(left) < len(hooks)
    leave_parents_services()
    assert len(threading._threading_atexits) == len(hooks) - 2, "its own services are no parent's"  # type: ignore[attr-defined]
