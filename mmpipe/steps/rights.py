"""Carry what the config says of a corpus's rights to the cards of its datasets."""

from __future__ import annotations

from mmpipe.config import RightsConfig
from mmpipe.store.card import write_card
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.rights import Rights, write_rights
from mmpipe.store.schema import read_schema
from mmpipe.store.spinecard import write_spine_card


def note_rights(layout: StoreLayout, corpus: str, said: RightsConfig) -> bool:
    """Note a corpus's rights in the store, and bring its cards after them; return whether that changed anything."""
    if not write_rights(layout, corpus, Rights(**said.model_dump())):
        return False
    clips = layout.dataset(corpus, CLIPS)
    if clips.partitions():
        write_spine_card(clips)
    for name in layout.feature_names(corpus):
        dataset = layout.dataset(corpus, name)
        write_card(dataset, read_schema(dataset), touched=())
    return True
