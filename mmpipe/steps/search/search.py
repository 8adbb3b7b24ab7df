"""Find clips of a corpus by a text, a file or another clip, in the space of a coordinated release."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.io import unescape_name
from mmpipe.search.index import SearchIndex
from mmpipe.search.nearest import Nearest, nearest
from mmpipe.steps.goals.column import column_values
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.search.library import WAIT_S, Library, Tell, bring_up, bring_up_graph, open_library
from mmpipe.steps.search.query import Asked, AskedPart, Query, embed_query
from mmpipe.steps.search.space import Space, View, open_space
from mmpipe.store.assets import read_assets
from mmpipe.types import Split

EXACT, GRAPH = "exact", "graph"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A clip that was found."""

    rank: int  # from 1
    score: float  # cosine in the shared space
    key: str
    source: str
    start_s: float
    end_s: float
    partition: str
    text: str
    labels: Mapping[str, str]
    file: str  # raw file of what was found; "" where the corpus folder is not of this config
    asked: AskedPart  # the part of the question that it is nearest to


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """What was found, and how."""

    model: str  # NAME@LABEL
    status: str  # of the release
    corpus: str
    asked_by: str  # features of what was asked
    among: str  # features of what was looked through
    how: str  # "exact" or "graph"
    clips: int  # that were looked through
    found: tuple[Found, ...]
    tainted: str = ""
    left_out: tuple[str, ...] = ()  # parts of the question that could not be used

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    def table(self) -> list[dict[str, Any]]:
        """Return one row per clip for a person."""
        several = len({one.asked.key for one in self.found}) > 1
        return [
            {
                "rank": one.rank,
                "score": round(one.score, 4),
                "key": one.key,
                "source": one.source,
                "start_s": round(one.start_s, 3),
                "end_s": round(one.end_s, 3),
                "text": one.text,
                "labels": ", ".join(f"{name}={value}" for name, value in sorted(one.labels.items())),
                **({"asked_at_s": round(one.asked.start_s, 3)} if several else {}),
                "file": one.file,
            }
            for one in self.found
        ]


def search_clips(
    config: Config,
    reference: str,
    query: Query,
    among: str,
    *,
    count: int = 10,
    corpus: str | None = None,
    split: Split | None = None,
    where: Mapping[str, str] | None = None,
    exact: bool = False,
    wait_s: float = WAIT_S,
    tell: Tell = lambda line: None,
    progress: Progress = SILENT,
) -> SearchReport:
    """Return the `count` clips of a corpus nearest to what is asked, by their `among`: a modality, or features.

    `reference` is NAME (what is in production) or NAME@VERSION of a release with goal = "retrieve". Without `corpus`
    the one that it learnt from is searched; `split` and `where` (column of the labels -> value) leave only some of its
    clips. Above `search.exact_up_to` clips a graph is followed, unless `exact` or a filter says otherwise. Lines for a
    person go to `tell`: an index that is made, dates that are left out. Raise ConfigError for what cannot be asked, and
    HeldError where somebody else has been making the index for `wait_s`.
    """
    if count < 1:
        raise ConfigError(f"a search finds at least one clip, and count is {count}")
    space = open_space(config, reference)
    corpus = corpus or space.corpus
    view = space.view(among, against=_facing(space, query))
    library = open_library(config, space, corpus, view, tell)
    asked = embed_query(config, space, query, view, corpus, progress)
    index = bring_up(space, library, view, tell, wait_s)
    if not index.manifest.rows:
        raise ConfigError(f"no clip of {corpus!r} has {view.name}: there is nothing to find. See: mmpipe status")
    rows = _chosen(library, index, split, where or {}, asked, view)
    uses_graph = rows is None and not exact and index.manifest.rows > config.search.exact_up_to
    lists = _look_up(config, library, index, asked, count, rows, uses_graph, tell, wait_s)
    return SearchReport(
        model=space.name,
        status=space.version.status,
        corpus=corpus,
        asked_by=asked.view.name,
        among=view.name,
        how=GRAPH if uses_graph else EXACT,
        clips=index.manifest.rows if rows is None else len(rows),
        found=tuple(_describe(config, library, index, view, space, asked, _merged(lists, index.keys_N, count))),
        tainted=space.tainted,
        left_out=tuple(f"{one.source}: {one.code}: {one.detail}" for one in asked.left_out),
    )


def _facing(space: Space, query: Query) -> View | None:
    """Return the view of what is asked, where what is looked for faces it."""
    return space.view(query.modality.value, against=space.side(1)) if query.modality else None


def _chosen(
    library: Library,
    index: SearchIndex,
    split: Split | None,
    where: Mapping[str, str],
    asked: Asked,
    view: View,
) -> np.ndarray | None:
    """Return the rows of the index that may be found; None: all."""
    spine = library.spine
    keep_N = np.ones(spine.height, dtype=bool)
    if split is not None:
        keep_N &= (spine["split"] == split.value).to_numpy()
    for column, value in where.items():
        keep_N &= np.array(_values(spine, column)) == value
    if asked.view == view and asked.parts:  # a clip is always nearest to itself, and nobody asks for that
        keep_N &= ~spine["key"].is_in([part.key for part in asked.parts]).to_numpy()
    if keep_N.all():
        return None
    kept = spine["key"].filter(pl.Series(keep_N)).to_list()
    rows = np.flatnonzero(np.isin(index.keys_N, np.array(kept, dtype=np.bytes_))) if kept else np.empty(0, np.int64)
    if not len(rows):
        raise ConfigError("no clip is left to be found: split, where, or both leave none. See: mmpipe status")
    return rows


def _values(spine: pl.DataFrame, column: str) -> list[str]:
    if column in ("source_id", "asset_id", "group", "partition", "split"):
        return spine[column].to_list()
    values = column_values(spine, column)
    if not any(values):
        known = sorted({name for labels in spine["labels"].head(1000) for name in json.loads(labels)})
        raise ConfigError(f"no clip has a value of {column!r}; columns of the labels are: {known or 'none'}")
    return values


def _look_up(
    config: Config,
    library: Library,
    index: SearchIndex,
    asked: Asked,
    count: int,
    rows: np.ndarray | None,
    uses_graph: bool,
    tell: Tell,
    wait_s: float,
) -> list[Nearest]:
    if not uses_graph:
        return nearest(asked.vectors_QD, index.vectors_ND, index.keys_N, count, rows)
    graph = bring_up_graph(library, index, config.search, tell, wait_s)
    return [graph.nearest(query_D, count) for query_D in asked.vectors_QD]


def _merged(lists: Sequence[Nearest], keys_N: np.ndarray, count: int) -> list[tuple[int, float, int]]:
    """Return (row, score, which asked) of the best of all lists, each row once: as its nearest asker found it."""
    entries = [
        (-score, keys_N[row], number, int(row))
        for number, found in enumerate(lists)
        for row, score in zip(found.rows_K.tolist(), found.scores_K.tolist(), strict=True)
    ]
    best: dict[int, tuple[int, float, int]] = {}
    for minus, _, number, row in sorted(entries):
        best.setdefault(row, (row, -minus, number))
    return list(best.values())[:count]


def _describe(
    config: Config,
    library: Library,
    index: SearchIndex,
    view: View,
    space: Space,
    asked: Asked,
    found: Sequence[tuple[int, float, int]],
) -> list[Found]:
    keys = [index.keys_N[row].decode() for row, _, _ in found]
    rows = {row["key"]: row for row in library.spine.filter(pl.col("key").is_in(keys)).iter_rows(named=True)}
    file_of = _raw_files(config, library, view, space, list(rows.values()))
    return [
        Found(
            rank=rank,
            score=score,
            key=key,
            source=rows[key]["source_id"],
            start_s=rows[key]["start_ns"] / 1e9,
            end_s=rows[key]["end_ns"] / 1e9,
            partition=rows[key]["partition"],
            text=rows[key]["text"],
            labels=json.loads(rows[key]["labels"]),
            file=file_of(rows[key]["asset_id"]),
            asked=asked.parts[number],
        )
        for rank, (key, (_, score, number)) in enumerate(zip(keys, found, strict=True), start=1)
    ]


def _raw_files(
    config: Config, library: Library, view: View, space: Space, rows: Sequence[Mapping[str, Any]]
) -> Callable[[str], str]:
    """Return what says where the file of an asset lies that the view is of."""
    corpus = library.identity.corpus
    source = config.corpora.get(corpus)
    dates = sorted({str(row["partition"]) for row in rows})
    roles = {space.modalities[feature].value for feature in view.features}
    assets = read_assets(library.layout, corpus, dates).filter(
        pl.col("asset_id").is_in([row["asset_id"] for row in rows]) & pl.col("role").is_in(sorted(roles))
    )
    names = dict(assets.select("asset_id", "file").iter_rows())
    root = Path(str(source.root)) if source and source.source.kind == "folder" else None

    def file_of(asset_id: str) -> str:
        name = names.get(asset_id, "")
        return str(root / os.fsdecode(unescape_name(name))) if root and name else name

    return file_of
