"""What another team pastes to read this very store, with paths that are right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmpipe.store.commit import read_head
from mmpipe.store.layout import open_store
from mmpipe.store.schema import read_schema
from mmpipe.store.snippets import snippets
from mmpipe.types import FeatureKind, FeatureSchema

_TOOLS = ((FeatureKind.VECTOR, "polars"), (FeatureKind.SEQUENCE, "webdataset"), (FeatureKind.VECTOR, "duckdb"))


def consumer_snippets(store: Path, corpus: str) -> Iterator[tuple[str, str]]:
    """Yield (title, program) for polars, webdataset and DuckDB, each on a feature of the corpus that it suits."""
    layout = open_store(store)
    found: dict[FeatureKind, tuple[Path, FeatureSchema, str, list[int]]] = {}
    for name in layout.feature_names(corpus):
        dataset = layout.dataset(corpus, name)
        for partition in reversed(dataset.partitions()):
            head = read_head(dataset, partition)
            numbers = [shard.number for shard in head.shards if shard.files] if head else []
            if numbers:
                schema = read_schema(dataset)
                found.setdefault(schema.kind, (dataset.root, schema, partition, numbers))
                break
    for kind, tool in _TOOLS:
        if kind in found:
            root, schema, partition, numbers = found[kind]
            program = snippets(schema, partition, numbers)[tool]
            yield f"{tool}: {schema.feature}", f'import os\nos.chdir("{root}")\n{program}\nprint(len(values), "clips")'
