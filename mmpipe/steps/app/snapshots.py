"""The snapshots that a store keeps, as the app shows them."""

from __future__ import annotations

from mmpipe.app.site import NotHereError
from mmpipe.app.values.models import SnapshotCard, SnapshotList, SnapshotPage
from mmpipe.app.values.paging import rows_of
from mmpipe.errors import MmpipeError
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import Snapshot, list_snapshots, read_snapshot
from mmpipe.store.snapshot_names import SnapshotName, list_names

_ROWS_PER_PAGE = 50
_ENTRIES_PER_PAGE = 100


def read_snapshots(layout: StoreLayout, page: int) -> SnapshotList:
    """Return a page of snapshots: those with a name first; a damaged one says so."""
    names = list_names(layout)
    named = {record.snapshot for record in names}
    digests = sorted(list_snapshots(layout), key=lambda digest: (digest not in named, digest))
    shown, paging = rows_of(digests, page, _ROWS_PER_PAGE)
    return SnapshotList(snapshots=tuple(_guarded(layout, digest, names) for digest in shown), paging=paging)


def read_one_snapshot(layout: StoreLayout, reference: str, page: int) -> SnapshotPage:
    """Return a snapshot by name or digest, with a page of what it pins. NotHereError: there is none."""
    names = list_names(layout)
    digest = next((record.snapshot for record in names if record.name == reference), reference)
    known = list_snapshots(layout)
    if digest not in known:
        raise NotHereError(f"no snapshot is called {reference!r}; {len(known)} are kept.")
    snapshot = read_snapshot(layout, digest)
    entries = [(entry.dataset, entry.partition, entry.revision, entry.sha256) for entry in snapshot.entries]
    shown, paging = rows_of(entries, page, _ENTRIES_PER_PAGE)
    return SnapshotPage(
        card=_card(digest, snapshot, names),
        entries=shown,
        paging=paging,
        reasons={
            record.name: f"{record.reason} ({record.created_by}, {record.created_at})"
            for record in names
            if record.snapshot == digest
        },
    )


def _guarded(layout: StoreLayout, digest: str, names: tuple[SnapshotName, ...]) -> SnapshotCard:
    try:
        return _card(digest, read_snapshot(layout, digest), names)
    except MmpipeError as error:
        return SnapshotCard(
            digest=digest, corpus="", names=(), partitions=0, first="", last="", features=(), fault=str(error)
        )


def _card(digest: str, snapshot: Snapshot, names: tuple[SnapshotName, ...]) -> SnapshotCard:
    return SnapshotCard(
        digest=digest,
        corpus=snapshot.corpus,
        names=tuple(record.name for record in names if record.snapshot == digest),
        partitions=len(snapshot.partitions),
        first=snapshot.partitions[0],
        last=snapshot.partitions[-1],
        features=snapshot.features,
    )
