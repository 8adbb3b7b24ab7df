"""Forget an asset or a source: out of every revision of every dataset, and never taken in again. It outranks pins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.io import remove_file
from mmpipe.registry.taint import mark_checkpoint, mark_version
from mmpipe.registry.versions import Version, list_models, list_versions
from mmpipe.steps.exclusive import hold_corpus
from mmpipe.steps.forget_order import ForgetOrder, drop_order, read_orders, resolve_order, write_order
from mmpipe.steps.forget_store import Holders, delete_objects, holders_of, rewrite_datasets
from mmpipe.steps.rights import recount_rights
from mmpipe.steps.scan import forget_in_scan
from mmpipe.store.audit import append_event
from mmpipe.store.commit import read_head, read_manifest
from mmpipe.store.journal import drop_journal
from mmpipe.store.layout import TOMBSTONES, StoreLayout, open_store
from mmpipe.store.snapshot import Snapshot, list_snapshots, read_snapshot
from mmpipe.store.tombstones import ASSET, FILE, NAME, STREAM, name_digest, read_tombstones, write_tombstones


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A place that holds something of what is forgotten."""

    what: str  # "shard", "old object", "snapshot", "checkpoint", "release", "report"
    where: str
    fate: str  # what becomes of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReport:
    """What is forgotten, and where it was."""

    corpus: str
    assets: int
    files: int
    clips: int
    shared_streams: int
    holdings: tuple[Holding, ...]
    again: bool = False  # it was forgotten before: nothing was left to do

    def summary(self) -> str:
        """Return a few lines for a person."""
        if self.again:
            return "forgotten before: nothing of it is left"
        text = f"{self.assets} assets, {self.files} files, {self.clips} clips of {self.corpus}"
        if self.shared_streams:
            text += f"; {self.shared_streams} of the streams are part of other assets too and stay with those"
        if any(holding.what == "report" for holding in self.holdings):
            text += f"; make a page of the rest again with: mmpipe report --corpus {self.corpus}"
        return text

    def table(self) -> list[dict[str, Any]]:
        """Return one row per place that holds it."""
        return [{"what": place.what, "where": place.where, "fate": place.fate} for place in self.holdings]


def forget(config: Config, corpus: str, name: str, reason: str, dry_run: bool = False) -> ForgetReport:
    """Forget an asset by its id, or all that was ever taken in as a source; one that was cut short is finished first.

    ConfigError: there is no reason, or nothing of that name was ever taken in.
    """
    if not reason.strip():
        raise ConfigError("forgetting needs a reason, which is kept in the audit log: --reason TEXT")
    layout = open_store(config.store, to_write=not dry_run)
    if dry_run:
        order = resolve_order(layout, corpus, name, reason)
        return _report(layout, order, holders_of(layout, order)) if order else _known(layout, corpus, name)
    with hold_corpus(layout, corpus):
        reports = {order.name: _carry_out(layout, order) for order in read_orders(layout, corpus)}
        order = resolve_order(layout, corpus, name, reason)
        if order is None:
            return reports.get(name) or _known(layout, corpus, name)
        write_order(layout, order)
        return _carry_out(layout, order)


def _known(layout: StoreLayout, corpus: str, name: str) -> ForgetReport:
    """Say that something was forgotten before, or refuse a name that nothing ever had."""
    tombstones = read_tombstones(layout, corpus)
    if tombstones.find(ASSET, [name]) or tombstones.find(NAME, [name_digest(name)]):
        return ForgetReport(corpus=corpus, assets=0, files=0, clips=0, shared_streams=0, holdings=(), again=True)
    raise ConfigError(
        f"{corpus!r} has no asset and no source {name!r}. A source is a file's path in the corpus without its suffix; "
        f"see: mmpipe quarantine show --corpus {corpus}, or the columns asset_id and source_id of the spine."
    )


def _carry_out(layout: StoreLayout, order: ForgetOrder) -> ForgetReport:
    """Do every step; each may have been done before a kill. The bytes go last, so that all else can be done again."""
    _put_tombstones(layout, order)
    holders = holders_of(layout, order)
    report = _report(layout, order, holders)
    rewrite_datasets(layout, order, holders)
    recount_rights(layout, order.corpus)
    for version in _tainted_versions(layout, order, holders):
        mark_version(layout.models, version.name, version.label, order.subjects, order.reason)
    for checkpoint in _tainted_checkpoints(layout, order, holders):
        mark_checkpoint(checkpoint, order.subjects, order.reason)
    for page in _reports(layout, order.corpus):
        remove_file(page)
    forget_in_scan(layout.runs / f"scan-{order.corpus}.parquet", order.files, order.streams)
    drop_journal(layout, order.corpus)
    _clear_staging(layout, order)
    delete_objects(layout, order, holders)
    append_event(
        layout,
        "forget",
        f"{order.corpus} {' '.join(order.subjects)}",
        order.reason,
        {"assets": len(order.asset_ids), "files": len(order.files), "clips": len(order.keys)},
    )
    drop_order(layout, order)
    return report


def _put_tombstones(layout: StoreLayout, order: ForgetOrder) -> None:
    rows = [(ASSET, asset) for asset in order.asset_ids]
    rows += [(STREAM, digest) for digest in order.streams]
    rows += [(FILE, digest) for digest in order.file_digests]
    rows += [(NAME, name_digest(name)) for name in (*order.source_ids, order.name)]
    write_tombstones(layout.dataset(order.corpus, TOMBSTONES), order.partition, rows)


def _report(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> ForgetReport:
    return ForgetReport(
        corpus=order.corpus,
        assets=len(order.asset_ids),
        files=len(order.files),
        clips=len(order.keys),
        shared_streams=order.shared,
        holdings=tuple(_holdings(layout, order, holders)),
    )


def _holdings(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[Holding]:
    for name, held in sorted(holders.items()):
        dataset = layout.dataset(order.corpus, name)
        named: set[str] = set()
        for partition in dataset.partitions():
            head = read_head(dataset, partition)
            for shard in head.shards if head else ():
                files = {file.sha256 for file in shard.files}
                named |= files
                if files & held:
                    yield Holding(what="shard", where=f"{name} dt={partition} shard {shard.number}", fate="made again")
        if old := held - named:
            yield Holding(what="old objects", where=f"{name}: {len(old)}", fate="deleted")
    for digest in _snapshots(layout, order, holders):
        yield Holding(what="snapshot", where=digest, fate="redacted")
    for checkpoint in _tainted_checkpoints(layout, order, holders):
        yield Holding(what="checkpoint", where=checkpoint.name, fate="marked as tainted")
    for version in _tainted_versions(layout, order, holders):
        yield Holding(what="release", where=f"{version.name}@{version.label}", fate="marked as tainted")
    for page in _reports(layout, order.corpus):
        yield Holding(what="report", where=page.name, fate="deleted")


def _snapshots(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[str]:
    for digest in list_snapshots(layout):
        snapshot = read_snapshot(layout, digest)
        if snapshot.corpus == order.corpus and _pins(layout, snapshot, holders):
            yield digest


def _pins(layout: StoreLayout, snapshot: Snapshot, holders: Holders) -> bool:
    for entry in snapshot.entries:
        manifest = read_manifest(layout.dataset(snapshot.corpus, entry.dataset), entry.partition, entry.revision)
        held = holders.get(entry.dataset, frozenset())
        if any(file.sha256 in held for shard in manifest.shards for file in shard.files):
            return True
    return False


def _tainted_versions(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[Version]:
    for model in list_models(layout.models):
        for version in list_versions(layout.models, model):
            lineage = json.loads(version.read("lineage.json"))
            if lineage.get("corpus") == order.corpus and _rests_on(lineage, order, holders):
                yield version


def _rests_on(lineage: dict[str, Any], order: ForgetOrder, holders: Holders) -> bool:
    files = set(order.file_digests)
    if any(file.get("sha256") in files or file.get("name") in order.files for file in lineage.get("raw_files", ())):
        return True
    return any(
        shard["sha256"] in holders.get(shard["dataset"], frozenset()) and shard["dataset"] in holders
        for shard in lineage.get("shards", ())
    )


def _tainted_checkpoints(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> Iterator[Path]:
    """Yield the trainings whose snapshot pins it, and those of this corpus that no kept snapshot speaks for."""
    kept = set(list_snapshots(layout))
    for path in sorted(layout.checkpoints.glob("*/checkpoint.json")):
        table = json.loads(path.read_bytes())
        if table.get("corpus") != order.corpus:
            continue
        digest = str(table.get("snapshot", ""))
        if digest not in kept or _pins(layout, read_snapshot(layout, digest), holders):
            yield path.parent


def _reports(layout: StoreLayout, corpus: str) -> list[Path]:
    return sorted(layout.reports.glob(f"{corpus}-????-??-??*.html"))


def _clear_staging(layout: StoreLayout, order: ForgetOrder) -> None:
    """Remove what killed runs left that speaks of it: receipts, and shards that were never finished."""
    traces = [text.encode() for text in (*order.keys, *order.asset_ids, *order.streams)]
    for path in sorted(layout.staging.glob("**/*")):
        if path.is_file():
            data = path.read_bytes()
            if any(trace in data for trace in traces):
                remove_file(path)
