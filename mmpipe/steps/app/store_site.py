"""A store as the pages of the app see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import polars as pl

from mmpipe.app.site import BusyError, NotHereError
from mmpipe.app.values.clips import ClipPage, PreviewKind, Samples, SamplesAsk
from mmpipe.app.values.datasets import Dataset, DatasetList
from mmpipe.app.values.matrix import Ledger, Matrix, MatrixAsk, cut_matrix
from mmpipe.app.values.models import ModelList, ModelVersion, SnapshotList, SnapshotPage
from mmpipe.app.values.overview import CorpusCard, Overview
from mmpipe.app.values.quarantine import Quarantine, QuarantineAsk
from mmpipe.app.values.runs import Runs
from mmpipe.config import Config
from mmpipe.errors import ConfigError, MmpipeError
from mmpipe.io import list_names
from mmpipe.steps.app.clip_values import draw_value
from mmpipe.steps.app.clips import find_assets, find_row, read_clip, read_samples, stream_of
from mmpipe.steps.app.datasets import read_dataset, read_datasets
from mmpipe.steps.app.kept import KeptValues
from mmpipe.steps.app.ledger import read_matrix
from mmpipe.steps.app.models import read_models, read_version
from mmpipe.steps.app.overview import corpus_card, model_cards
from mmpipe.steps.app.previews import PreviewMaker
from mmpipe.steps.app.quarantine import cut_quarantine, read_drops
from mmpipe.steps.app.runs import read_report, read_runs, read_stages
from mmpipe.steps.app.snapshots import read_one_snapshot, read_snapshots
from mmpipe.steps.ground.mirror import media_root
from mmpipe.store.atwork import find_writer
from mmpipe.store.layout import TOMBSTONES, StoreLayout, layout_version, open_store
from mmpipe.types import Clip

_MOST_RUNS = 8  # on the first page


class StoreSite:
    """Answers what pages ask; the config and the store are looked at anew each time. A context manager."""

    def __init__(self, load: Callable[[], Config], kept: KeptValues | None = None) -> None:
        self._load = load
        self._kept = kept or KeptValues(lambda: StoreLayout(load().store))
        self._previews = PreviewMaker()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers that made previews."""
        self._previews.__exit__(*error)

    def overview(self) -> Overview:
        """Return all there is at a glance; also where there is no store yet."""
        config = self._load()
        try:
            layout = open_store(config.store)
        except ConfigError as error:
            return Overview(store=str(config.store), notice=str(error))
        self._drop_forgotten(layout)
        return Overview(
            store=str(config.store),
            layout_version=layout_version(layout),
            corpora=tuple(self._card(config, layout, name) for name in layout.corpora()),
            models=model_cards(layout),
            last_runs=read_stages(layout)[:_MOST_RUNS],
        )

    def matrix(self, corpus: str, ask: MatrixAsk) -> Matrix:
        """Return dates x features."""
        config, layout = self._open(corpus)
        return cut_matrix(self._ledger(config, layout, corpus), ask, find_writer(layout, corpus))

    def quarantine(self, corpus: str, ask: QuarantineAsk) -> Quarantine:
        """Return what cannot be used."""
        _, layout = self._open(corpus)
        rows: pl.DataFrame = self._kept.get(corpus, "quarantine", lambda: read_drops(layout, corpus))
        return cut_quarantine(corpus, rows, ask)

    def datasets(self, corpus: str) -> DatasetList:
        """Return the datasets of a corpus."""
        _, layout = self._open(corpus)
        return self._datasets(layout, corpus)

    def dataset(self, corpus: str, name: str, page: int) -> Dataset:
        """Return one dataset."""
        config, layout = self._open(corpus)
        return self._kept.get(corpus, ("dataset", name, page), lambda: read_dataset(config, layout, corpus, name, page))

    def samples(self, corpus: str, ask: SamplesAsk) -> Samples:
        """Return clips of a date."""
        _, layout = self._open(corpus)
        return read_samples(layout, corpus, ask)

    def clip(self, corpus: str, key: str, dt: str) -> ClipPage:
        """Return one clip."""
        config, layout = self._open(corpus)
        return read_clip(config, layout, corpus, key, dt)

    def value_picture(self, corpus: str, key: str, dt: str, feature: str) -> bytes:
        """Return a PNG of a clip's value."""
        config, layout = self._open(corpus)
        return draw_value(layout, corpus, find_row(config, layout, corpus, key, dt), feature)

    def preview(self, corpus: str, key: str, dt: str, kind: PreviewKind) -> Path:
        """Return a file with the preview of a clip that is in the store now."""
        config, layout = self._open(corpus)
        # Before anything is looked up: who asks for a clip that was forgotten is told so, and its preview goes too.
        epoch = self._previews.shelf.empty_on_change(corpus, _forgotten(layout, corpus))
        if corpus not in config.corpora:
            raise NotHereError(f"The config does not say where the raw media of {corpus} are: no preview can be made.")
        row = find_row(config, layout, corpus, key, dt)
        asset = find_assets(layout, corpus, row["partition"], [row["asset_id"]]).get(row["asset_id"])
        stream = stream_of(asset, kind) if asset else None
        if stream is None:
            raise NotHereError(f"clip {key} has no track to make a preview clip.{kind} from.")
        clip = Clip(**{name: row[name] for name in ("key", "asset_id", "start_ns", "end_ns")})
        root = media_root(layout, corpus, config.corpora[corpus])
        path = self._previews.make(config, corpus, root, clip, stream, kind, epoch)
        if self._previews.shelf.empty_on_change(corpus, _forgotten(layout, corpus)) != epoch:
            raise BusyError("Something was forgotten while this preview was made. Ask again for what is still there.")
        return path

    def models(self) -> ModelList:
        """Return every published model."""
        return read_models(self._layout())

    def version(self, model: str, label: str) -> ModelVersion:
        """Return one version."""
        return read_version(self._layout(), model, label)

    def snapshots(self, page: int) -> SnapshotList:
        """Return the snapshots that are kept."""
        return read_snapshots(self._layout(), page)

    def snapshot(self, reference: str, page: int) -> SnapshotPage:
        """Return one snapshot."""
        return read_one_snapshot(self._layout(), reference, page)

    def runs(self) -> Runs:
        """Return what ran, and the reports."""
        return read_runs(self._layout())

    def report(self, name: str) -> tuple[bytes, str]:
        """Return a report's bytes and media type."""
        return read_report(self._layout(), name)

    # --------------------------------------------------------------------- inside

    def _layout(self) -> StoreLayout:
        """Return the store; one that is not there yet holds nothing."""
        layout = StoreLayout(self._load().store)
        if layout.format_file.exists():
            layout = open_store(layout.root)
        self._drop_forgotten(layout)
        return layout

    def _drop_forgotten(self, layout: StoreLayout) -> None:
        """Remove the previews after something was forgotten, whatever page is asked for."""
        for corpus in self._previews.shelf.corpora:
            self._previews.shelf.empty_on_change(corpus, _forgotten(layout, corpus))

    def _open(self, corpus: str) -> tuple[Config, StoreLayout]:
        """Return the config and the store, after the name of a corpus was held against what there is."""
        config, layout = self._load(), self._layout()
        known = layout.corpora()
        if corpus not in known:
            raise NotHereError(f"no corpus is called {corpus!r}; there are: {', '.join(known) or 'none yet'}.")
        return config, layout

    def _ledger(self, config: Config, layout: StoreLayout, corpus: str) -> Ledger:
        return self._kept.get(corpus, "ledger", lambda: read_matrix(config, layout, corpus))

    def _datasets(self, layout: StoreLayout, corpus: str) -> DatasetList:
        return self._kept.get(corpus, "datasets", lambda: read_datasets(layout, corpus))

    def _card(self, config: Config, layout: StoreLayout, corpus: str) -> CorpusCard:
        """Return a corpus in a few numbers; one that cannot be read hides no other."""
        try:
            datasets = self._datasets(layout, corpus)
        except MmpipeError as error:
            nothing = DatasetList(corpus=corpus, datasets=())
            return corpus_card(layout, nothing, Ledger(corpus=corpus, features=(), cells=()), str(error))
        try:
            return corpus_card(layout, datasets, self._ledger(config, layout, corpus))
        except MmpipeError as error:
            return corpus_card(layout, datasets, Ledger(corpus=corpus, features=(), cells=()), str(error))


def _forgotten(layout: StoreLayout, corpus: str) -> tuple[str, ...]:
    """Return what differs as soon as something more of a corpus was forgotten."""
    dataset = layout.dataset(corpus, TOMBSTONES)
    return tuple(f"{dt}/{name}" for dt in dataset.partitions() for name in sorted(list_names(dataset.meta(dt))))
