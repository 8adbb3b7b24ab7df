"""Show where the clips lie by their values: a map a modality, and the nearest neighbours of one clip a feature."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mmpipe.config import Config
from mmpipe.report.embedding import NO_LABEL, MapPoint, MapShown, Projection, project_pca, project_umap, standardise
from mmpipe.report.neighbours import Neighbour, NeighboursShown, agreement_of, nearest_of, similarities
from mmpipe.steps.shown.choices import MapMethod
from mmpipe.steps.shown.values import Looked, look_at_values
from mmpipe.store.layout import StoreLayout
from mmpipe.store.schema import read_schema

_MOST_CLIPS = 300
_MOST_FEATURES = 4  # of a page
_PICTURES = 24  # of a map
_MOST_COLOURS = 12
_LONGEST_CAPTION = 100


_METHODS: dict[MapMethod, Callable[[np.ndarray], Projection]] = {
    MapMethod.PCA: project_pca,
    MapMethod.UMAP: project_umap,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesShown:
    """Maps and neighbours, and which clips they show pictures of."""

    maps: tuple[MapShown, ...]
    neighbours: tuple[NeighboursShown, ...]
    keys: tuple[str, ...]  # clips whose pictures they want, those that matter most first


def show_values(
    config: Config, layout: StoreLayout, corpus: str, live: pl.DataFrame, features: Sequence[str], method: MapMethod
) -> ValuesShown:
    """Return what there is to see of the values of some features: one of each modality first."""
    column = choose_label(config, corpus, live)
    maps: list[MapShown] = []
    neighbours: list[NeighboursShown] = []
    keys: list[str] = []
    for feature in one_a_modality(layout, corpus, features):
        looked = look_at_values(layout, corpus, feature, live, _MOST_CLIPS) if len(maps) < _MOST_FEATURES else None
        if looked is None or len(looked.x_ND) < 3:
            continue
        said = [label_of(row, column) for row in looked.clips["labels"]]
        x_ND = standardise(looked.x_ND)
        near, wanted = _neighbours(feature, looked, x_ND, said, column)
        neighbours.append(near)
        maps.append(_map(feature, looked, _METHODS[method](x_ND), said, column))
        keys += [*wanted, *looked.clips["key"].gather(_pictured(len(looked.x_ND))).to_list()]
    return ValuesShown(maps=tuple(maps), neighbours=tuple(neighbours), keys=tuple(dict.fromkeys(keys)))


def one_a_modality(layout: StoreLayout, corpus: str, features: Sequence[str]) -> list[str]:
    """Order features so that each modality comes once before any comes twice."""
    order: list[tuple[int, str]] = []
    seen: Counter[str] = Counter()
    for feature in features:
        modality = str(read_schema(layout.dataset(corpus, feature)).modality)
        order.append((seen[modality], feature))
        seen[modality] += 1
    return [feature for _, feature in sorted(order)]


def choose_label(config: Config, corpus: str, live: pl.DataFrame) -> str:
    """Return the label that clips are told apart by: a model's target, else one with few values; "" where none is."""
    counts: dict[str, Counter[str]] = {}
    for text, number in live["labels"].value_counts().iter_rows():
        for name, value in json.loads(text).items():
            counts.setdefault(name, Counter())[str(value)] += number
    targets = [model.target for model in config.models.values() if model.corpus == corpus]
    fit = [name for name, values in counts.items() if 2 <= len(values) <= _MOST_COLOURS]
    fit.sort(key=lambda name: (name not in targets, -counts[name].total(), len(counts[name]), name))
    return fit[0] if fit else ""


def label_of(labels: str, column: str) -> str:
    """Return what a clip is, by one label; "" where it has none."""
    return str(json.loads(labels).get(column, "")) if column else ""


def caption_of(row: dict[str, str]) -> str:
    """Return how a clip is called on a page: its source, and how its text begins."""
    text = f": {row['text']}" if row["text"] else ""
    said = f"{row['source_id']}{text}"
    return said if len(said) <= _LONGEST_CAPTION else f"{said[: _LONGEST_CAPTION - 1]}…"


def _map(feature: str, looked: Looked, placed: Projection, said: Sequence[str], column: str) -> MapShown:
    points = tuple(
        MapPoint(x=float(x), y=float(y), group=label or NO_LABEL, caption=caption_of(row), picture=row["key"])
        for (x, y), label, row in zip(placed.xy_N2, said, looked.clips.iter_rows(named=True), strict=True)
    )
    return MapShown(
        feature=feature,
        method=placed.method,
        coloured_by=column or "nothing: no label has few values",
        points=points,
        note="The few beyond its sides stand at the edge.",
    )


def _neighbours(
    feature: str, looked: Looked, x_ND: np.ndarray, said: Sequence[str], column: str
) -> tuple[NeighboursShown, list[str]]:
    likeness_NN = similarities(x_ND)
    asked = next((row for row in range(len(said) // 3, len(said)) if said[row]), 0)
    near = nearest_of(likeness_NN, asked)
    found = agreement_of(likeness_NN, said) if column else None
    shown = NeighboursShown(
        feature=feature,
        asked=_one(looked, said, asked, asked, 1.0),
        nearest=tuple(_one(looked, said, asked, row, float(likeness_NN[asked, row])) for row in near),
        coloured_by=column,
        agreement=found.share if found else None,
        chance=found.chance if found else None,
        num_clips=len(said),
    )
    return shown, looked.clips["key"].gather([asked, *near]).to_list()


def _one(looked: Looked, said: Sequence[str], asked: int, row: int, similarity: float) -> Neighbour:
    clip = looked.clips.row(row, named=True)
    return Neighbour(
        caption=caption_of(clip),
        label=said[row],
        picture=clip["key"],
        similarity=similarity,
        is_same=row != asked and bool(said[row]) and said[row] == said[asked],
    )


def _pictured(number: int) -> list[int]:
    return list(_evenly(number))


def _evenly(number: int) -> Iterator[int]:
    step = max(number / _PICTURES, 1.0)
    yield from (int(n * step) for n in range(min(number, _PICTURES)))
