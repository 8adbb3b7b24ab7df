"""The index of a corpus's clips: brought up shard by shard from stored features, and nothing decoded for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config, SearchConfig
from mmpipe.errors import ConfigError, MmpipeError, StoreError, TransientError
from mmpipe.search.graph import Graph, GraphShape
from mmpipe.search.index import (
    SearchIndex,
    add_graph,
    drop_index,
    drop_strays,
    find_like,
    list_strays,
    open_graph,
    open_index,
    write_index,
)
from mmpipe.search.manifest import IndexIdentity, keys_digest
from mmpipe.steps.plan.patience import Patience, do_when_free
from mmpipe.steps.search.space import Space, View
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import Lease
from mmpipe.store.manifest import Manifest
from mmpipe.store.schema import read_schema
from mmpipe.store.snapshot import Snapshot, pinned_manifest, read_pinned_spine, take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.types import digest_of
from mmpipe.words import counted

Tell = Callable[[str], None]  # takes a line for a person
WAIT_S = 120.0  # for somebody else who makes the index
Heads = Mapping[str, Mapping[str, Manifest]]  # of features by partition


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Library:
    """The clips of a corpus that can be found: what they are, and what of them the release embeds."""

    layout: StoreLayout
    snapshot: Snapshot
    spine: pl.DataFrame  # live clips of the partitions that fit, in the order of the reader
    identity: IndexIdentity


def open_library(config: Config, space: Space, corpus: str, view: View, tell: Tell) -> Library:
    """Pin the newest clips and features of a corpus that the release can embed.

    ConfigError: the corpus lacks a feature, or has it as another extractor made it.
    """
    layout = StoreLayout(config.store)
    for feature in view.features:
        require_fit(layout, space, corpus, feature)
    snapshot = take_snapshot(layout, corpus, view.features)
    heads = pinned_heads(layout, snapshot, view.features)
    fitting = fitting_partitions(space, corpus, heads, snapshot.partitions, tell)
    live = read_pinned_spine(layout, snapshot).filter(~pl.col("superseded") & pl.col("partition").is_in(fitting))
    spine = live.sort("partition", "shard", "ordinal")
    identity = IndexIdentity(
        corpus=corpus,
        model=space.name,
        release=space.version.digest,
        view=view.name,
        dim=space.dim,
        parts=tuple(_parts(spine, heads)),
    )
    return Library(layout=layout, snapshot=snapshot, spine=spine, identity=identity)


def bring_up(space: Space, library: Library, view: View, tell: Tell, wait_s: float = WAIT_S) -> SearchIndex:
    """Return the index of these very clips: the one that is there, or one made now, of which shards were kept.

    HeldError: somebody else has been making it for as long as one waits.
    """
    identity = library.identity
    folder = library.layout.indexes / identity.corpus / identity.digest

    def find_or_make() -> SearchIndex:
        if index := _open(folder):
            _tidy(library, folder)
            return index
        with _right(library):
            return _bring_up_alone(space, library, view, folder, tell)

    return do_when_free(find_or_make, Patience(seconds=wait_s, tell=tell))


def _bring_up_alone(space: Space, library: Library, view: View, folder: Path, tell: Tell) -> SearchIndex:
    """Return the index, made now unless somebody made it meanwhile; the right to make it is held."""
    layout, identity = library.layout, library.identity
    index = _open(folder)
    if index is None:
        if folder.is_dir():
            tell(f"{folder} is damaged; it is made again now")
            drop_index(folder, layout.staging)
        _make(space, library, view, tell)
        index = _open(folder)
    try:
        _require_unforgotten(library)
    except TransientError:
        drop_index(folder, layout.staging)
        raise
    if index is None:
        raise TransientError(f"the index {folder} was removed as soon as it was made. Run the same again.")
    for old in find_like(layout.indexes, identity):
        drop_index(old, layout.staging)
    return index


def _right(library: Library) -> Lease:
    """Return the right to change the indexes of a corpus; HeldError: somebody else has it."""
    return Lease.acquire(library.layout, f"search-{library.identity.corpus}")


def _tidy(library: Library, folder: Path) -> None:
    """Remove what a killed search left in an index that is asked, and so never becomes garbage."""
    if list_strays(folder):
        with suppress(MmpipeError, OSError), _right(library):  # held: it may be theirs; forbidden: it is for others
            drop_strays(folder)


def _open(folder: Path) -> SearchIndex | None:
    """Return an index where it is there and whole."""
    try:
        return open_index(folder) if folder.is_dir() else None
    except StoreError:
        return None


def bring_up_graph(
    library: Library, index: SearchIndex, search: SearchConfig, tell: Tell, wait_s: float = WAIT_S
) -> Graph:
    """Return the graph over an index, made now where there is none; HeldError as of `bring_up`."""
    shape = GraphShape(links=search.graph_links, reach=search.graph_reach)

    def find_or_make() -> Graph | None:
        if graph := open_graph(index, shape):
            return graph
        with _right(library):
            graph = open_graph(index, shape)
            if graph is None:
                tell(f"linking {counted(index.manifest.rows, 'clip')} to a graph; it is kept")
                drop_strays(index.folder)
                add_graph(index, shape)
                graph = open_graph(index, shape)
        return graph

    changed = f"the index {index.folder}, or its graph, was changed meanwhile. Run the same again."
    try:
        graph = do_when_free(find_or_make, Patience(seconds=wait_s, tell=tell))
    except (OSError, RuntimeError) as error:  # of the system, or of usearch
        if index.folder.is_dir():
            raise
        raise TransientError(changed) from error
    if graph is None:
        raise TransientError(changed)
    return graph


def pinned_heads(layout: StoreLayout, snapshot: Snapshot, features: Iterable[str]) -> Heads:
    """Return the manifests of features that a snapshot pins."""
    return {
        feature: {
            entry.partition: pinned_manifest(layout.dataset(snapshot.corpus, feature), entry)
            for entry in snapshot.of(feature)
        }
        for feature in features
    }


def require_fit(layout: StoreLayout, space: Space, corpus: str, feature: str) -> None:
    """Raise ConfigError where a corpus lacks a feature that is embedded, or has it in another size."""
    dataset = layout.dataset(corpus, feature)
    if not dataset.partitions():
        known = ", ".join(layout.feature_names(corpus)) or "none"
        raise ConfigError(
            f"{space.name} embeds {feature}, and the corpus {corpus!r} has none; it has: {known}. Put "
            f"{feature.partition('@')[0]!r} among its features, and run: mmpipe extract --corpus {corpus}"
        )
    if (dim := read_schema(dataset).dim) != (wanted := space.dims()[feature]):
        raise ConfigError(
            f"{space.name} reads {feature} with {wanted} numbers, and the corpus {corpus!r} has it with {dim}: its "
            "parameters differ. Set those that it was trained with, or train on this corpus"
        )


def fitting_partitions(
    space: Space, corpus: str, heads: Heads, partitions: Sequence[str], tell: Tell = lambda line: None
) -> list[str]:
    """Return the partitions in which every feature is made as the release learnt from it; ConfigError: in none."""
    wrong = {
        partition: feature
        for feature, manifests in heads.items()
        for partition, manifest in manifests.items()
        if manifest.fingerprint != space.fingerprints[feature]
    }
    fitting = [partition for partition in partitions if partition not in wrong]
    if wrong:
        first, feature = min(wrong.items())
        said = (
            f"{feature} of {corpus} was made otherwise than {space.name} learnt it (parameters, weights or version "
            f"differ), first on {first}"
        )
        if not fitting:
            raise ConfigError(f"{said}. Extract it as then, or train and release again: mmpipe train")
        tell(f"{counted(len(wrong), 'date')} left out: {said}")
    return fitting


def _parts(spine: pl.DataFrame, heads: Heads) -> list[tuple[str, int, str]]:
    """Return every shard with a digest of what its vectors are made from: its live clips, and the features' bytes."""
    sums = {
        (feature, partition, shard.number): file.sha256
        for feature, manifests in heads.items()
        for partition, manifest in manifests.items()
        for shard in manifest.shards
        if (file := shard.file("data"))
    }
    groups = spine.select("partition", "shard", "key").group_by("partition", "shard", maintain_order=True).agg("key")
    return [
        (
            partition,
            shard,
            digest_of(
                "part", keys_digest(keys), *(sums.get((feature, partition, shard), "") for feature in sorted(heads))
            ),
        )
        for partition, shard, keys in groups.iter_rows()
    ]


def _make(space: Space, library: Library, view: View, tell: Tell) -> None:
    """Embed the shards that no index of before has; copy the rest."""
    identity, layout = library.identity, library.layout
    kept = _kept(layout, identity)
    due = {part[:2] for part in identity.parts if part not in kept}
    tell(
        f"index of {view.name} of {identity.corpus} by {space.name}: {counted(len(due), 'shard')} to embed, "
        f"{len(identity.parts) - len(due)} kept"
    )
    fresh = _embed(space, library, view, due)
    keys, vectors, rows = [], [], []
    for part in identity.parts:
        keys_R, vectors_RD = kept[part] if part in kept else fresh[part[:2]]
        keys.append(keys_R)
        vectors.append(vectors_RD)
        rows.append(len(keys_R))
    write_index(
        layout.indexes,
        layout.staging,
        identity,
        rows,
        np.concatenate(keys) if keys else np.empty(0, "S1"),
        np.concatenate(vectors) if vectors else np.empty((0, identity.dim), np.float32),
        before_naming=lambda: _require_unforgotten(library),
    )


def _kept(layout: StoreLayout, identity: IndexIdentity) -> dict[tuple[str, int, str], tuple[np.ndarray, np.ndarray]]:
    """Return the rows of shards that are as they were when an index of before was made."""
    found: dict[tuple[str, int, str], tuple[np.ndarray, np.ndarray]] = {}
    wanted = set(identity.parts)
    for folder in find_like(layout.indexes, identity):
        try:
            index = open_index(folder)
        except StoreError:
            continue  # made again from the shards
        for part, rows in index.part_rows().items():
            if part in wanted:
                found[part] = (index.keys_N[rows], index.vectors_ND[rows])
    return found


def _embed(
    space: Space, library: Library, view: View, due: set[tuple[str, int]]
) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
    """Embed some shards, each by itself, so that its vectors depend on nothing else."""
    if not due:
        return {}
    places = pl.DataFrame(
        sorted(due), schema={"partition": pl.String, "shard": library.spine["shard"].dtype}, orient="row"
    )
    spine = library.spine.join(places, on=["partition", "shard"], how="semi", maintain_order="left")
    reader = AlignedReader(library.layout, library.snapshot, view.features, spine)
    has_N: np.ndarray = np.max([reader.lengths(name) > 0 for name in view.features], axis=0)
    shards = reader.spine.select("partition", "shard").with_row_index("row")
    found = {}
    for (partition, shard), part in shards.partition_by("partition", "shard", as_dict=True).items():
        rows = part["row"].to_numpy().astype(np.int64)
        rows = rows[has_N[rows]]
        keys = reader.spine["key"].gather(rows.tolist()).to_list()
        found[str(partition), int(shard)] = (np.array(keys, dtype=np.bytes_), space.embed(reader, rows, view))
    return found


def _require_unforgotten(library: Library) -> None:
    """Raise TransientError where something was forgotten while an index was made.

    `forget` looks for indexes after the spine, so one that is made meanwhile is seen by forget or sees it. Asked before
    an index has its name, so that a kill leaves none behind, and once more when it has.
    """
    corpus = library.identity.corpus
    left = read_spine(library.layout, corpus).select("key")
    if library.spine.join(left, on="key", how="anti").height:
        raise TransientError(f"clips of {corpus} were forgotten meanwhile. Nothing is lost: run the same again.")
