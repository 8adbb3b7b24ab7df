"""Forget an asset or a source: out of every revision of every dataset, and never taken in again. It outranks pins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.io import remove_file
from mmpipe.registry.taint import mark_checkpoint, mark_version
from mmpipe.registry.versions import drop_unpublished
from mmpipe.search.index import drop_index
from mmpipe.steps.ground.mirror import forget_in_mirror
from mmpipe.steps.ground.rights import recount_rights
from mmpipe.steps.ground.scan import forget_in_scan, scan_path
from mmpipe.steps.keep.exclusive import hold_corpus
from mmpipe.steps.keep.forget_models import (
    drop_training,
    redact_checkpoint,
    redact_release,
    require_no_training,
    unfinished_trainings,
)
from mmpipe.steps.keep.forget_order import ForgetOrder, drop_order, read_orders, resolve_order, write_order
from mmpipe.steps.keep.forget_places import (
    Holding,
    indexes_of,
    is_left,
    list_places,
    list_reports,
    tainted_checkpoints,
    tainted_versions,
)
from mmpipe.steps.keep.forget_store import Holders, delete_objects, holders_of, rewrite_datasets
from mmpipe.store.audit import append_event
from mmpipe.store.journal import drop_journal
from mmpipe.store.layout import TOMBSTONES, StoreLayout, open_store
from mmpipe.store.tombstones import ASSET, FILE, NAME, STREAM, name_digest, read_tombstones, write_tombstones
from mmpipe.words import counted


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
            return (
                "forgotten before: nothing of it is left in the store, but for the weights of models that are marked "
                "as tainted; see: mmpipe models ls"
            )
        counts = (counted(self.assets, "asset"), counted(self.files, "file"), counted(self.clips, "clip"))
        text = f"{', '.join(counts)} of {self.corpus}"
        if self.shared_streams:
            text += f"; {self.shared_streams} of the streams are part of other assets too and stay with those"
        if any(holding.what == "report" for holding in self.holdings):
            text += f"; make a page of the rest again with: mmpipe report --corpus {self.corpus}"
        if retrain := sorted({place.where.partition("@")[0] for place in self.holdings if place.what == "weights"}):
            commands = ", ".join(f"mmpipe train --model {model}" for model in retrain)
            text += f"; weights that learnt from it remain, retrain: {commands}, and publish"
        if raw := sum(place.what == "raw file" for place in self.holdings):
            text += f"; {raw} raw files of it still lie in the corpus folder, which is not ours to change"
        return text + "; copies elsewhere (exports, backups, caches of other machines) are out of reach"

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
    raw = config.corpora[corpus].root if corpus in config.corpora else None
    if dry_run:
        order = resolve_order(layout, corpus, name, reason)
        return _report(layout, order, holders_of(layout, order), raw) if order else _known(layout, corpus, name)
    with hold_corpus(layout, corpus):
        require_no_training(layout)
        reports = {order.name: _carry_out(layout, order, raw) for order in read_orders(layout, corpus)}
        order = resolve_order(layout, corpus, name, reason)
        if order is None:
            return reports.get(name) or _known(layout, corpus, name)
        write_order(layout, order)
        return _carry_out(layout, order, raw)


def _known(layout: StoreLayout, corpus: str, name: str) -> ForgetReport:
    """Say that something was forgotten before, or refuse a name that nothing ever had."""
    tombstones = read_tombstones(layout, corpus)
    if tombstones.find(ASSET, [name]) or tombstones.find(NAME, [name_digest(name)]):
        return ForgetReport(corpus=corpus, assets=0, files=0, clips=0, shared_streams=0, holdings=(), again=True)
    raise ConfigError(
        f"{corpus!r} has no asset and no source {name!r}. A source is a file's path in the corpus without its suffix; "
        f"see: mmpipe quarantine show --corpus {corpus}, or the columns asset_id and source_id of the spine."
    )


def _carry_out(layout: StoreLayout, order: ForgetOrder, raw: Path | None) -> ForgetReport:
    """Do every step; each may have been done before a kill. The bytes go last, so that all else can be done again.

    Models come before the datasets, whose old shards say which models learnt from it; a mark says it after a kill.
    """
    _put_tombstones(layout, order)
    holders = holders_of(layout, order)
    report = _report(layout, order, holders, raw)
    _redact_models(layout, order, holders)
    rewrite_datasets(layout, order, holders)
    _redact_models(layout, order, holders)  # what was published meanwhile; from here on nothing is
    recount_rights(layout, order.corpus)
    for page in list_reports(layout, order.corpus):
        remove_file(page)
    forget_in_mirror(layout, order.corpus, order.files)
    forget_in_scan(scan_path(layout, order.corpus), order.files, order.streams)
    for index in indexes_of(layout, order):
        drop_index(index, layout.staging)
    drop_journal(layout, order.corpus)
    _clear_staging(layout, order, holders)
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


def _redact_models(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> None:
    for version in tainted_versions(layout, order, holders):
        mark_version(layout.models, version.name, version.label, order.subjects, order.reason)
        redact_release(version, order)
    for checkpoint in tainted_checkpoints(layout, order, holders):
        mark_checkpoint(checkpoint, order.subjects, order.reason)
        redact_checkpoint(checkpoint, order)
    for training in unfinished_trainings(layout, order):
        drop_training(training)
    drop_unpublished(layout.models)


def _put_tombstones(layout: StoreLayout, order: ForgetOrder) -> None:
    rows = [(ASSET, asset) for asset in order.asset_ids]
    rows += [(STREAM, digest) for digest in order.streams]
    rows += [(FILE, digest) for digest in order.file_digests]
    rows += [(NAME, name_digest(name)) for name in (*order.source_ids, order.name)]
    write_tombstones(layout.dataset(order.corpus, TOMBSTONES), order.partition, rows)


def _report(layout: StoreLayout, order: ForgetOrder, holders: Holders, raw: Path | None) -> ForgetReport:
    return ForgetReport(
        corpus=order.corpus,
        assets=len(order.asset_ids),
        files=len(order.files),
        clips=len(order.keys),
        shared_streams=order.shared,
        holdings=tuple(list_places(layout, order, holders, raw)),
    )


def _clear_staging(layout: StoreLayout, order: ForgetOrder, holders: Holders) -> None:
    """Remove what killed runs left that speaks of it: receipts, shards that were never finished, damaged bytes."""
    for path in sorted(layout.staging.glob("**/*")):
        if is_left(path, order, holders):
            remove_file(path)
