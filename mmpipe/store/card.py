"""What another team reads first: README.md, CHANGELOG.md, croissant.json and figures, made from schema and heads.

A commit brings them up. It costs one partition's manifests and one year's figures, however many partitions there are:
the tables show the newest 100, and `statistics/` holds them all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mmpipe.io import StorePath, canonical_json, make_directory, replace_durable
from mmpipe.store.croissant import croissant
from mmpipe.store.deprecation import read_deprecation
from mmpipe.store.history import FOLDER, PartitionHistory, history_of, read_histories, statistics_files
from mmpipe.store.identity import read_identity
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.objects import stage_path
from mmpipe.store.readme import CardFacts, render_changelog, render_readme
from mmpipe.store.revisions import read_head
from mmpipe.store.rights import read_noted
from mmpipe.store.schema import freeze_schema
from mmpipe.types import FeatureSchema


def write_card(dataset: DatasetLayout, schema: FeatureSchema, touched: Collection[str] | None = None) -> bool:
    """Bring a feature's generated files up to its heads; return whether anything changed.

    `touched` names the partitions that changed since the card was written; without it, every head is read.
    """
    frozen = freeze_schema(dataset, schema)
    changed = False
    while stale := _stale_files(dataset, frozen, touched):  # another partition may be committed while this writes
        if any(path.parent.name == FOLDER for path in stale):
            make_directory(dataset.root / FOLDER)
        for path, data in stale.items():
            replace_durable(path, data, stage_path(dataset))
        changed = True
    return changed


def read_heads(dataset: DatasetLayout) -> tuple[Manifest, ...]:
    """Return the head of every partition, oldest first."""
    heads = (read_head(dataset, partition) for partition in dataset.partitions())
    return tuple(head for head in heads if head is not None)


def render_card(dataset: DatasetLayout, schema: FeatureSchema, heads: Sequence[Manifest]) -> Mapping[str, bytes]:
    """Return the generated files by name; the same heads give the same bytes."""
    return _render(dataset, schema, tuple(history_of(dataset, schema, head) for head in heads))


def _render(
    dataset: DatasetLayout,
    schema: FeatureSchema,
    histories: tuple[PartitionHistory, ...],
    years: Collection[str] | None = None,
) -> Mapping[str, bytes]:
    filled = next((history for history in reversed(histories) if history.shards), None)
    head = read_head(dataset, filled.partition) if filled else None
    noted = read_noted(dataset)
    facts = CardFacts(
        schema=schema,
        corpus=dataset.corpus,
        histories=histories,
        numbers=tuple(shard.number for shard in head.shards if shard.files) if head else (),
        newest=head,
        rights=noted.rights,
        clips=noted.clips,
        deprecation=read_deprecation(dataset),
        identity=read_identity(dataset, histories[-1].fingerprint) if histories else None,
    )
    published = histories[-1].partition if histories else "1970-01-01"
    return {
        "README.md": render_readme(facts).encode(),
        "CHANGELOG.md": render_changelog(facts).encode(),
        "croissant.json": canonical_json(croissant(schema, dataset.corpus, published, facts.rights, facts.clips)),
        **statistics_files(histories, years),
    }


def _stale_files(
    dataset: DatasetLayout, schema: FeatureSchema, touched: Collection[str] | None
) -> Mapping[StorePath, bytes]:
    """Return what the files of the card should hold, where they do not."""
    wanted = _render(dataset, schema, *read_histories(dataset, schema, touched))
    paths = {dataset.root / name: data for name, data in wanted.items()}
    return {path: data for path, data in paths.items() if not path.exists() or path.read_bytes() != data}
