"""Bring what follows the heads up to them again: views and cards, but for partitions whose newest manifest is gone."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mmpipe.io import StorePath, restamp
from mmpipe.remote import RemotePath
from mmpipe.store.bankscard import write_banks_card
from mmpipe.store.card import write_card
from mmpipe.store.layout import BANKS, CLIPS, SIGNALS, DatasetLayout, StoreLayout
from mmpipe.store.lostrevision import find_lost_again
from mmpipe.store.manifest import ROLES
from mmpipe.store.schema import read_schema
from mmpipe.store.signalscard import write_signals_card
from mmpipe.store.spinecard import write_spine_card
from mmpipe.store.view import heal_view


def heal_dataset(dataset: DatasetLayout, relink: bool = False, spared: Collection[str] | None = None) -> int:
    """Bring one dataset's views and card up to the heads; return how many had to change.

    With `relink`, names of a view that a copy of the store made bytes of their own become links to the objects again.
    The views of `spared` partitions stay, and the card with them: they show what their heads do not know any more.
    Without `spared`, this looks for such partitions itself.
    """
    spared = find_spared(dataset) if spared is None else spared
    for path in find_copies(dataset) if relink else ():
        restamp(path)  # a stamp that no object has: what shows an object by a copy has its stamp
    healed = sum(heal_view(dataset, partition) for partition in dataset.partitions() if partition not in spared)
    if spared:
        return healed
    if dataset.is_feature:
        healed += write_card(dataset, read_schema(dataset))
    elif dataset.name == CLIPS and dataset.partitions():
        healed += write_spine_card(dataset)
    elif dataset.name == SIGNALS and dataset.partitions():
        healed += write_signals_card(dataset)
    elif dataset.name == BANKS and dataset.partitions():
        healed += write_banks_card(dataset)
    return healed


def find_copies(dataset: DatasetLayout) -> Iterator[StorePath]:
    """Yield the names of a view that are bytes of their own, as in a copied store, where links can be."""
    if isinstance(dataset.root, RemotePath):
        return
    for path in (path for role in ROLES for path in dataset.root.glob(f"{role}/dt=*/*")):
        if path.is_file() and path.stat().st_nlink == 1:
            yield path


def find_spared(dataset: DatasetLayout) -> frozenset[str]:
    """Return the partitions whose view or card speaks of a revision that the manifests do not know."""
    layout = StoreLayout(dataset.root.parent.parent)
    return frozenset(name for name in dataset.partitions() if find_lost_again(layout, dataset, name, thorough=False))
