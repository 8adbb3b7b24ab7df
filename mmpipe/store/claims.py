"""Who is making which shards: a batch claims its shards at once, under one lease whose heartbeat stands for all.

A claim keeps others from doing the same work, and shows a planner what is running. It is never needed for a store to
be right: manifests and receipts see to that. The claim of a dead holder counts for nothing and is swept away.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mmpipe.errors import TransientError
from mmpipe.io import StorePath, canonical_json, make_directory, remove_file, write_durable
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import Lease, find_holder

Place = tuple[str, int]  # (partition, shard)
_PATIENCE_S = 30.0  # a decision takes milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The shards that a batch may make, and who makes the others that it wanted."""

    taken: frozenset[Place]
    held: Mapping[Place, str]


@contextmanager
def claim_shards(layout: StoreLayout, corpus: str, wanted: Iterable[Place]) -> Iterator[Claim]:
    """Claim those of the wanted shards that nobody alive has, for as long as the block lasts."""
    name = f"batch-{corpus}-{uuid.uuid4().hex}"
    with _deciding(layout, corpus):
        running = _read_claims(layout, corpus, sweep=True)
        places = set(wanted)
        claim = Claim(
            taken=frozenset(places - running.keys()),
            held={place: who for place, who in sorted(running.items()) if place in places},
        )
        lease = Lease.acquire(layout, name)
        write_durable(_claim_path(layout, name), canonical_json([list(place) for place in sorted(claim.taken)]))
    try:
        yield claim
    finally:
        lease.release()
        _sweep(layout, name)


def running_shards(layout: StoreLayout, corpus: str) -> dict[Place, str]:
    """Return the shards that somebody alive is making, and who."""
    return _read_claims(layout, corpus, sweep=False)


@contextmanager
def _deciding(layout: StoreLayout, corpus: str) -> Iterator[None]:
    """Let one at a time look and take."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            lease = Lease.acquire(layout, f"claiming-{corpus}")
            break
        except TransientError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.02)
    with lease:
        yield


def _read_claims(layout: StoreLayout, corpus: str, *, sweep: bool) -> dict[Place, str]:
    """Return the claims of living holders; with `sweep` remove those of dead ones, as only a decider may."""
    found: dict[Place, str] = {}
    folder = layout.leases
    for path in sorted(folder.glob(f"batch-{corpus}-*.claim")) if folder.is_dir() else ():
        if len(path.stem) != len(f"batch-{corpus}-") + 32:
            continue  # of a corpus whose name begins with this one's
        if who := find_holder(layout, path.stem):
            found.update(dict.fromkeys(_parse(path), who))
        elif sweep:
            _sweep(layout, path.stem)
    return found


def _parse(path: StorePath) -> list[Place]:
    try:
        return [(str(partition), int(shard)) for partition, shard in json.loads(path.read_bytes())]
    except (FileNotFoundError, ValueError, TypeError):
        return []  # given back since it was listed, or cut short by a crash of the machine


def _claim_path(layout: StoreLayout, name: str) -> StorePath:
    return make_directory(layout.leases) / f"{name}.claim"


def _sweep(layout: StoreLayout, name: str) -> None:
    """Remove all that a batch's claim has left: its name is never used again."""
    for suffix in ("claim", "json", "lock"):
        remove_file(layout.leases / f"{name}.{suffix}")
