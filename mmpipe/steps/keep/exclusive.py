"""Hold a corpus alone: no ingest, no extraction, while what is committed is made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmpipe.steps.plan.plan import raise_if_running
from mmpipe.store.claims import claim_shards
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import Lease
from mmpipe.store.spine import read_spine


@contextmanager
def hold_corpus(layout: StoreLayout, corpus: str) -> Iterator[None]:
    """Keep everybody else from a corpus; TransientError, which says who, where somebody is at work on it."""
    with Lease.acquire(layout, f"ingest-{corpus}"):
        places = {(dt, int(shard)) for dt, shard in read_spine(layout, corpus).select("partition", "shard").iter_rows()}
        with claim_shards(layout, corpus, places) as claim:
            raise_if_running(claim.held)
            yield
