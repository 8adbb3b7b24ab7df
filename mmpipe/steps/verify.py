"""Check every committed byte: the store, the models, the checkpoints and the audit log."""

from __future__ import annotations

from collections.abc import Iterator

from mmpipe.config import Config
from mmpipe.errors import StoreError
from mmpipe.registry.integrity import verify_models
from mmpipe.steps.seal import find_broken_seals
from mmpipe.store.audit import find_audit_faults
from mmpipe.store.drift import warn_of_values
from mmpipe.store.finding import RESTORE, Finding, Severity
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.verify import chosen_corpora, verify_store

_TRAIN_AGAIN = f"{RESTORE} Or remove the folder and run `mmpipe train`: it comes out the same."


def open_to_verify(config: Config) -> StoreLayout:
    """Open a store also where its format.json is damaged: that is a finding then, and no reason to look away."""
    try:
        return open_store(config.store)
    except StoreError:
        return StoreLayout(config.store)


def find_faults(layout: StoreLayout, corpus: str | None = None) -> tuple[Finding, ...]:
    """Return everything that is wrong or suspicious, damage first; with a corpus, only what belongs to it."""
    found = [*verify_store(layout, corpus), *warn_of_values(layout, chosen_corpora(layout, corpus))]
    if corpus is None:
        found += _verify_rest(layout)
    return tuple(sorted(set(found), key=lambda finding: (finding.severity, finding)))


def count_damage(findings: tuple[Finding, ...]) -> int:
    """Return how many findings are more than a warning."""
    return sum(finding.severity is Severity.DAMAGE for finding in findings)


def _verify_rest(layout: StoreLayout) -> Iterator[Finding]:
    for code, path, detail in verify_models(layout.models):
        yield Finding.at(layout.root, path, code, detail, RESTORE)
    for folder in sorted(layout.checkpoints.glob("*")):
        for path, detail in find_broken_seals(folder):
            yield Finding.at(layout.root, path, "checkpoint_damaged", detail, _TRAIN_AGAIN)
    for path, detail in find_audit_faults(layout):
        yield Finding.at(layout.root, path, "audit_damaged", detail, RESTORE)
