"""The seam between the steps and whoever watches them: `watch_stage` at a step's border, and what it read and made."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

from mmpipe.config import Config
from mmpipe.config.watch import WatchConfig, is_url
from mmpipe.engine.worker_log import OFF
from mmpipe.errors import ConfigError
from mmpipe.io import StorePath
from mmpipe.remote import RemotePath
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.quarantine import THING, read_quarantine
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import read_schema
from mmpipe.store.snapshot import read_snapshot
from mmpipe.types import Drop
from mmpipe.watch.drops import log_drops
from mmpipe.watch.lineage import LineageListener, Outlet
from mmpipe.watch.logs import LogSettings, StageLog, set_up_logs
from mmpipe.watch.outlets import FileOutlet, HttpOutlet
from mmpipe.watch.spans import SpanListener, is_asked_for
from mmpipe.watch.stage import Listener, Stage, Table
from mmpipe.watch.stage import OuterRun as OuterRun
from mmpipe.watch.totals import TotalsListener
from mmpipe.watch.watcher import OpenStage, Watcher
from mmpipe.watch.watcher import inside_run as inside_run

LOGGER = logging.getLogger("mmpipe.watch")
_KEPT = 8  # watchers of a process; it has one config, but for tests


@contextmanager
def watch_stage(
    config: Config, stage: Stage, *, corpus: str = "", model: str = "", dates: Sequence[str] = ()
) -> Iterator[OpenStage]:
    """Open a stage of a config's store; whoever `[watch]` names hears of it. ConfigError: one cannot be had."""
    with _watcher(config.watch, config.store, config.timezone).stage(
        stage, corpus=corpus, model=model, dates=dates
    ) as opened:
        yield opened


def totals_folder(layout: StoreLayout) -> Path:
    """Return where the totals of a store's stages lie."""
    return layout.runs / "watch"


def worker_log_level(watch: WatchConfig) -> int:
    """Return the least level of what worker processes say that reaches the log."""
    return OFF if watch.worker_log == "off" else logging.getLevelNamesMapping()[watch.worker_log.upper()]


@lru_cache(maxsize=_KEPT)
def _watcher(watch: WatchConfig, store: Path, timezone: str) -> Watcher:
    level = logging.getLevelNamesMapping()[watch.log_level.upper()]
    set_up_logs(LogSettings(file=watch.log_file, format=watch.log_format, level=level))
    listeners: list[Listener] = [StageLog(), TotalsListener(totals_folder(StoreLayout(store)))]
    if watch.lineage:
        outlet: Outlet | None = HttpOutlet(watch.lineage, watch.send_timeout_s) if is_url(watch.lineage) else None
        outlet = outlet or FileOutlet(Path(watch.lineage))
        listeners.append(LineageListener(outlet, watch.lineage_namespace, timezone))
    if is_asked_for(watch.traces):
        try:
            listeners.append(SpanListener(watch.traces, watch.send_timeout_s))
        except ConfigError as error:
            if watch.traces:
                raise
            LOGGER.warning("the environment asks for OpenTelemetry traces: %s", error)
    return Watcher(listeners)


@contextmanager
def new_drops_logged(layout: StoreLayout, corpus: str) -> Iterator[None]:
    """Log what is in quarantine after the block and was not before; the same file every night is no news."""
    before = read_quarantine(layout, corpus)
    yield
    news = read_quarantine(layout, corpus).join(before, on=[*THING, "code"], how="anti")
    names = [field.name for field in fields(Drop)]
    log_drops(corpus, [Drop(**row) for row in news.select(names).iter_rows(named=True)])


# --------------------------------------------------------------------------- what a stage read and made


def feature_tables(
    layout: StoreLayout, corpus: str, features: Iterable[str], partitions: Iterable[str]
) -> Iterator[Table]:
    """Yield the partitions of features as their heads have them."""
    dates = tuple(partitions)
    for feature in features:
        dataset = layout.dataset(corpus, feature)
        for partition in dates:
            head = read_head(dataset, partition)
            if head is not None:
                schema = read_schema(dataset)
                namespace, name = _place(dataset.root)
                yield Table(
                    namespace=namespace,
                    name=name,
                    partition=partition,
                    version=head.digest(),
                    rows=head.samples,
                    nbytes=sum(file.nbytes for shard in head.shards for file in shard.files),
                    columns={"key": "string", "value": f"{schema.kind}<{schema.dtype}, {schema.dim}>"},
                    counts={
                        "quarantined": sum(shard.quarantined for shard in head.shards),
                        "absent": sum(shard.absent for shard in head.shards),
                    },
                )


def clip_tables(layout: StoreLayout, corpus: str, partitions: Iterable[str]) -> Iterator[Table]:
    """Yield the partitions of a corpus's clips."""
    dataset = layout.dataset(corpus, CLIPS)
    for partition in partitions:
        head = read_head(dataset, partition)
        if head is not None:
            namespace, name = _place(dataset.root)
            yield Table(
                namespace=namespace,
                name=name,
                partition=partition,
                version=head.digest(),
                rows=head.samples,
                nbytes=sum(file.nbytes for shard in head.shards for file in shard.files),
                columns={"key": "string", "start_ns": "int64", "end_ns": "int64"},
            )


def snapshot_tables(layout: StoreLayout, digest: str) -> Iterator[Table]:
    """Yield the manifests that a snapshot pins."""
    snapshot = read_snapshot(layout, digest)
    for entry in snapshot.entries:
        namespace, name = _place(layout.dataset(snapshot.corpus, entry.dataset).root)
        yield Table(namespace=namespace, name=name, partition=entry.partition, version=entry.sha256)


def folder_table(place: StorePath, version: str = "") -> Table:
    """Return a folder or file, such as a corpus's root, a checkpoint or a report."""
    namespace, name = _place(place)
    return Table(namespace=namespace, name=name, version=version)


def _place(path: StorePath) -> tuple[str, str]:
    """Return namespace and name as OpenLineage wants them: of files by path, of buckets by bucket and key."""
    if isinstance(path, RemotePath):
        scheme, _, rest = str(path).partition("://")
        bucket, _, key = rest.partition("/")
        return f"{scheme}://{bucket}", key
    return "file", str(Path(path).absolute())
