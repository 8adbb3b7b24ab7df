"""All corpora and models of a store at a glance."""

from __future__ import annotations

from mmpipe.app.values.datasets import DatasetList
from mmpipe.app.values.matrix import Ledger, count_states
from mmpipe.app.values.overview import CorpusCard, ModelCard
from mmpipe.errors import MmpipeError, StoreError
from mmpipe.registry.aliases import read_aliases
from mmpipe.registry.versions import list_models, list_versions_loosely
from mmpipe.store.atwork import find_writer
from mmpipe.store.layout import CLIPS, QUARANTINE, StoreLayout


def corpus_card(layout: StoreLayout, datasets: DatasetList, ledger: Ledger, fault: str = "") -> CorpusCard:
    """Return a corpus in a few numbers."""
    cards = {card.name: card for card in datasets.datasets}
    clips, drops = cards.get(CLIPS), cards.get(QUARANTINE)
    return CorpusCard(
        name=datasets.corpus,
        clips=clips.rows if clips else 0,
        dates=clips.partitions if clips else 0,
        newest=clips.newest if clips else "",
        features=sum(card.is_feature for card in datasets.datasets),
        nbytes=sum(card.nbytes for card in datasets.datasets),
        quarantined=drops.rows if drops else 0,
        states=count_states(ledger.cells),
        late=tuple(fresh for fresh in ledger.freshness if fresh.late),
        at_work=find_writer(layout, datasets.corpus),
        fault=fault,
    )


def model_card(layout: StoreLayout, name: str) -> ModelCard:
    """Return a model in a few words; one that is damaged hides no other."""
    versions = list(list_versions_loosely(layout.models, name))
    newest, open_newest = versions[-1]
    try:
        status = open_newest().status
    except (MmpipeError, ValueError, KeyError):
        status = "damaged"
    aliases, fault = {}, ""
    try:
        aliases = read_aliases(layout.models, name).names
    except StoreError as error:
        status, fault = "damaged", str(error)
    return ModelCard(
        name=name,
        versions=len(versions),
        newest=newest.name,
        status=status,
        aliases={alias: label for alias, label in aliases.items() if label},
        fault=fault,
    )


def model_cards(layout: StoreLayout) -> tuple[ModelCard, ...]:
    """Return every model."""
    return tuple(model_card(layout, name) for name in list_models(layout.models))
