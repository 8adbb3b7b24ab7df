"""Which receipts no plan can use any more: their fingerprint or their inputs are nobody's, so nothing commits them."""

from __future__ import annotations

from collections.abc import Iterator

from mmpipe.config import Config
from mmpipe.features.extractor import feature_name, fingerprint
from mmpipe.io import StorePath
from mmpipe.steps.ground.retention import newest_change
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.inputs import possible_inputs
from mmpipe.steps.plan.ledger import read_shards
from mmpipe.store.claims import running_shards
from mmpipe.store.heads import read_heads
from mmpipe.store.layout import StoreLayout
from mmpipe.store.receipt import receipt_name, receipt_paths
from mmpipe.store.schema import read_schema
from mmpipe.types import Modality


def spare_receipts(config: Config, layout: StoreLayout, cutoff_s: float) -> tuple[StorePath, ...]:
    """Return the receipts that are older than the cutoff and that no plan can use; none while shards are being made.

    A collection in which a receipt goes still holds its objects: the next one frees them. So whoever read it just
    before finds all that it speaks of.
    """
    old = [path for path in receipt_paths(layout) if newest_change(path) < cutoff_s]
    if not old or any(running_shards(layout, corpus) for corpus in layout.corpora()):
        return ()
    usable = {name for corpus in layout.corpora() for name in _usable_names(config, layout, corpus)}
    return tuple(path for path in old if path.name not in usable)


def _usable_names(config: Config, layout: StoreLayout, corpus: str) -> Iterator[str]:
    """Yield the names of all receipts that a plan of today would look for, by the config or by the heads."""
    shards = read_shards(layout, corpus)
    for feature, modality, mark in _makings(config, layout, corpus):
        dataset = layout.dataset(corpus, feature)
        for partition, shard, inputs in shards.select("partition", "shard", str(modality)).iter_rows():
            for noted in possible_inputs(inputs):
                yield receipt_name(dataset, partition, mark, shard, noted)


def _makings(config: Config, layout: StoreLayout, corpus: str) -> Iterator[tuple[str, Modality, str]]:
    """Yield (feature, modality, fingerprint) of what is configured, and of what heads were made with."""
    if corpus in config.corpora:
        for extractor in resolve_features(config, corpus):
            yield feature_name(extractor), extractor.modality, fingerprint(extractor)
    for name in layout.feature_names(corpus):
        dataset = layout.dataset(corpus, name)
        modality = read_schema(dataset).modality
        yield from ((name, modality, mark) for mark in read_heads(dataset)["fingerprint"].unique())
