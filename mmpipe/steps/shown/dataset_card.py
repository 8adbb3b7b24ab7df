"""Say what a dataset promises, holds and may be used for: one page a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl

from mmpipe.config import Config
from mmpipe.io import make_directory, replace_bytes
from mmpipe.report.cards import (
    ColumnShown,
    DatasetCard,
    DateShown,
    SampleShown,
    Snippet,
    SplitShown,
    render_dataset_card,
)
from mmpipe.report.histograms import HistogramShown, histogram_of
from mmpipe.report.range import Range
from mmpipe.report.values import Fact, Headline, Mood, Step
from mmpipe.steps.plan.deprecate import require_feature
from mmpipe.steps.shown.pictures import show_clips
from mmpipe.steps.shown.samples import show_samples
from mmpipe.steps.shown.values import Looked, choose_evenly, look_at_values
from mmpipe.steps.workers.shower import Showing
from mmpipe.store.croissant import column_meanings
from mmpipe.store.deprecation import read_deprecation
from mmpipe.store.history import PartitionHistory, read_histories
from mmpipe.store.layout import DatasetLayout, StoreLayout, open_store
from mmpipe.store.revisions import read_head
from mmpipe.store.rights import read_noted
from mmpipe.store.schema import read_schema, schema_digest
from mmpipe.store.snippets import snippets
from mmpipe.store.spine import read_spine
from mmpipe.types import FeatureKind, FeatureSchema, Split

_MOST_LOOKED_AT = 400
_SAMPLES = 6
_BESIDE = {
    "README.md": "README.md: the same for a terminal",
    "CHANGELOG.md": "CHANGELOG.md: what each revision changed",
    "croissant.json": "croissant.json: for machines",
    "schema.json": "schema.json: the frozen schema",
}


def dataset_card_path(layout: StoreLayout, corpus: str, feature: str) -> Path:
    """Return where the page of a dataset lies: with the reports, so that `mmpipe forget` finds it."""
    return layout.reports / f"{corpus}-dataset-{feature}.html"


def write_dataset_card(config: Config, corpus: str, feature: str) -> Path:
    """Write the page of a feature's dataset."""
    layout = open_store(config.store)
    dataset = require_feature(layout, corpus, feature, newest=True)
    path = dataset_card_path(layout, corpus, dataset.name)
    page = render_dataset_card(_describe(config, layout, dataset))
    make_directory(path.parent)
    replace_bytes(path, page.encode())
    return path


def _describe(config: Config, layout: StoreLayout, dataset: DatasetLayout) -> DatasetCard:
    schema = read_schema(dataset)
    histories, _ = read_histories(dataset, schema, ())
    live = read_spine(layout, dataset.corpus).filter(~pl.col("superseded"))
    looked = look_at_values(layout, dataset.corpus, dataset.name, live, _MOST_LOOKED_AT)
    samples, pictures = _samples(config, layout, dataset, looked)
    notice = read_deprecation(dataset)
    written = sum(history.clips for history in histories)
    span = f"{histories[0].partition} to {histories[-1].partition}" if histories else "no dates yet"
    return DatasetCard(
        title=dataset.name,
        subtitle=f"a dataset of the corpus {dataset.corpus}",
        headline=Headline(word="deprecated", sentence=notice.sentence(dataset.name), mood=Mood.WEAK)
        if notice
        else Headline(word=str(schema.modality), sentence=schema.description or f"{schema.kind} of {schema.modality}"),
        facts=(
            Fact(label="clips with a value", value=f"{written:,}"),
            Fact(label="dates", value=f"{len(histories):,}, {span}"),
            Fact(label="a value is", value=f"{schema.kind}, {schema.dim} wide"),
            Fact(label="type", value=schema.dtype),
        ),
        contract=tuple(_contract(dataset, schema, histories)),
        columns=tuple(ColumnShown(name=n, kind=k, meaning=m) for n, k, m in column_meanings(schema)),
        dates=tuple(map(_date, histories)),
        splits=_splits(looked),
        norms=_norms(schema, looked),
        rights=tuple(_rights(dataset)),
        samples=samples,
        pictures=pictures,
        snippets=_snippets(dataset, schema),
        files=tuple(_files(layout, dataset)),
    )


def _contract(dataset: DatasetLayout, schema: FeatureSchema, histories: tuple[PartitionHistory, ...]) -> Iterator[Fact]:
    shape = "[T, D] with the time of each row" if schema.kind is FeatureKind.SEQUENCE else "[D]"
    yield Fact(label="value", value=f"{shape}, D = {schema.dim}, {schema.dtype}")
    yield Fact(label="modality", value=str(schema.modality))
    yield Fact(label="schema", value=schema_digest(schema))
    if histories:
        yield Fact(label="fingerprint", value=histories[-1].fingerprint)
    yield Fact(label="key", value="24 characters, the same clip in every dataset of the corpus")
    yield Fact(label="folder", value=str(dataset.root))


def _date(history: PartitionHistory) -> DateShown:
    return DateShown(
        date=history.partition,
        revision=history.revision,
        shards=history.shards,
        written=history.clips,
        absent=history.absent,
        quarantined=history.quarantined,
        num_nan=history.num_nan,
        num_constant=history.num_constant,
        norm=Range(value=history.norm_mean, low=history.norm_min, high=history.norm_max),
    )


def _splits(looked: Looked | None) -> tuple[SplitShown, ...]:
    """Return how the clips that were looked at, which all have a value, are shared out."""
    if looked is None:
        return ()
    counts = looked.clips.group_by("split").agg(clips=pl.len(), groups=pl.col("group").n_unique())
    found = {row["split"]: row for row in counts.iter_rows(named=True)}
    return tuple(
        SplitShown(
            name=str(split),
            clips=found[split]["clips"],
            groups=found[split]["groups"],
            share=found[split]["clips"] / looked.clips.height,
        )
        for split in Split
        if split in found
    )


def _norms(schema: FeatureSchema, looked: Looked | None) -> HistogramShown | None:
    if looked is None:
        return None
    norms_N = np.linalg.norm(looked.x_ND, axis=1)
    what = "norm of the mean over time" if schema.kind is FeatureKind.SEQUENCE else "norm"
    return histogram_of(what, f"of {len(norms_N)} clips, evenly spread over the dates", norms_N)


def _rights(dataset: DatasetLayout) -> Iterator[Fact]:
    noted = read_noted(dataset)
    for name in ("owner", "contact", "licence", "pii", "consent"):
        if said := getattr(noted.rights, name):
            yield Fact(label={"pii": "personal data"}.get(name, name), value=said)
    if noted.clips:
        yield Fact(label="of the clips", value=noted.clips.sentence())


def _samples(
    config: Config, layout: StoreLayout, dataset: DatasetLayout, looked: Looked | None
) -> tuple[tuple[SampleShown, ...], dict[str, bytes]]:
    if looked is None:
        return (), {}
    clips = choose_evenly(looked.clips, _SAMPLES)
    seen = show_clips(config, layout, dataset.corpus, clips, Showing.STILL)
    pictures = {key: shown.data for key, shown in seen.items() if shown.kind == "picture"}
    return tuple(show_samples(layout, dataset.corpus, dataset.name, clips, {})), pictures


def _snippets(dataset: DatasetLayout, schema: FeatureSchema) -> tuple[Snippet, ...]:
    for partition in reversed(dataset.partitions()):
        head = read_head(dataset, partition)
        numbers = [shard.number for shard in head.shards if shard.files] if head else []
        if numbers:
            found = snippets(schema, partition, numbers)
            return tuple(Snippet(tool=tool, program=program) for tool, program in found.items())
    return ()


def _files(layout: StoreLayout, dataset: DatasetLayout) -> Iterator[Step]:
    if layout.local != layout.root:
        return  # the pages of a store at a URL lie on this machine
    for name, said in _BESIDE.items():
        if (dataset.root / name).exists():
            yield Step(text=said, command=quote(f"../{dataset.corpus}/{dataset.name}/{name}", safe="/@"))
