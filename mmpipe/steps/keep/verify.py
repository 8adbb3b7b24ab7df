"""Check every committed byte: the store, the models, the checkpoints and the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from mmpipe.config import Config
from mmpipe.errors import ConfigError, MmpipeError, StoreError
from mmpipe.registry.integrity import verify_models
from mmpipe.registry.taint import read_checkpoint_taint
from mmpipe.registry.versions import list_versions_loosely
from mmpipe.search.index import index_faults, list_indexes
from mmpipe.steps.ground.seal import find_broken_seals, find_unsealed
from mmpipe.steps.ground.watching import watch_stage
from mmpipe.steps.share.external_integrity import find_pin_faults
from mmpipe.store.audit import find_audit_faults
from mmpipe.store.drift import warn_of_values
from mmpipe.store.finding import RESTORE, Finding, Severity
from mmpipe.store.layout import FORMAT_VERSION, StoreLayout, layout_version, open_store
from mmpipe.store.redaction import is_redacted
from mmpipe.store.snapshot import list_snapshots, read_snapshot
from mmpipe.store.verify import chosen_corpora, verify_store
from mmpipe.watch.stage import Stage

LACKING = frozenset({"card_stale", "events_unsigned"})  # what a store of an older layout lacks: no damage
_TAKE_OUT = (
    "Look at it, and take it out: a program that loads the folder by its names would take it for the model's own."
)
_PIN = f"{RESTORE} Without a copy: `mmpipe feature add` under another name, and take the values over anew."
_UNSEALED = "SHA256SUMS does not speak of it, so nothing vouches for its bytes"
_SEAL = "`mmpipe publish` seals what a publication that was cut short left; else look at it, and take it out."
_INDEX = "`mmpipe verify --repair` removes it; the next `mmpipe search` makes it again from shards and release."
_TRAIN_AGAIN = f"{RESTORE} Or remove the folder and run `mmpipe train`: it comes out the same."


def open_to_verify(config: Config) -> StoreLayout:
    """Open a store also where its format.json is damaged: that is a finding then, and no reason to look away."""
    try:
        return open_store(config.store)
    except StoreError:
        return StoreLayout(config.store)


def check_store(config: Config, layout: StoreLayout, corpus: str | None = None) -> tuple[Finding, ...]:
    """Find everything that is wrong, as a stage that others may watch; damage is a finding and no failure of it."""
    with watch_stage(config, Stage.VERIFY, corpus=corpus or "") as stage:
        found = find_faults(layout, corpus)
        stage.count(findings=len(found), damage=count_damage(found))
    return found


def find_faults(layout: StoreLayout, corpus: str | None = None) -> tuple[Finding, ...]:
    """Return everything that is wrong or suspicious, damage first; with a corpus, only what belongs to it."""
    corpora = chosen_corpora(layout, corpus)
    found = [*verify_store(layout, corpus), *warn_of_values(layout, corpora)]
    found += [Finding.at(layout.root, path, code, said, _PIN) for code, path, said in find_pin_faults(layout, corpora)]
    if corpus is None:
        found += _verify_rest(layout)
    if _is_older(layout):
        found = [finding for finding in found if finding.code not in LACKING]
    return tuple(sorted(set(found), key=lambda finding: (finding.severity, finding)))


def name_redacted(layout: StoreLayout) -> tuple[str, ...]:
    """Return a line for every snapshot, training and release out of which something was forgotten."""
    found = []
    for digest in list_snapshots(layout):
        with suppress(MmpipeError):  # damage is a finding of its own
            if is_redacted(layout, read_snapshot(layout, digest)):
                found.append(f"redacted: snapshot {digest}")
    for folder in sorted(path for path in layout.checkpoints.glob("*") if path.is_dir()):
        if read_checkpoint_taint(folder):
            found.append(f"redacted: checkpoint {folder.name}")
    for model in sorted(path for path in layout.models.glob("*") if path.is_dir()):
        for path, opened in list_versions_loosely(layout.models, model.name):
            with suppress(MmpipeError, ValueError, KeyError, TypeError):
                if opened().redaction:
                    found.append(f"redacted: release {model.name}@{path.name}")
    return tuple(found)


def _is_older(layout: StoreLayout) -> bool:
    try:
        return layout_version(layout) < FORMAT_VERSION
    except (StoreError, ConfigError):
        return False


def count_damage(findings: tuple[Finding, ...]) -> int:
    """Return how many findings are more than a warning."""
    return sum(finding.severity is Severity.DAMAGE for finding in findings)


def _verify_rest(layout: StoreLayout) -> Iterator[Finding]:
    for code, path, detail in verify_models(layout.models):
        yield Finding.at(layout.root, path, code, detail, _TAKE_OUT if code == "unexpected_file" else RESTORE)
    for folder in sorted(layout.checkpoints.glob("*")):
        for path, detail in find_broken_seals(folder):
            yield Finding.at(layout.local, path, "checkpoint_damaged", detail, _TRAIN_AGAIN)
        for path in find_unsealed(folder):
            yield Finding.at(layout.local, path, "unexpected_file", _UNSEALED, _SEAL, Severity.WARNING)
    for folder in list_indexes(layout.indexes):
        for detail in index_faults(folder):
            yield Finding.at(layout.local, folder, "index_damaged", detail, _INDEX)
    for path, detail in find_audit_faults(layout):
        yield Finding.at(layout.root, path, "audit_damaged", detail, RESTORE)
