"""Repair a store: copies first, then only what is bad or gone is made again, then views and cards follow.

Bad bytes are moved to `_staging/damaged/` and never deleted. What has no other source than itself (the spine, the
assets, the quarantine, old manifests, snapshots, models) stays where it is unless a copy of the store has it whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mmpipe.config import Config
from mmpipe.errors import MmpipeError
from mmpipe.io import sha256_file, write_durable
from mmpipe.search.index import drop_index
from mmpipe.steps.keep.recount import recount_statistics
from mmpipe.steps.keep.remake import find_lost_shards, make_again
from mmpipe.steps.keep.remake_tables import REMADE, find_lost_tables, remake_tables, set_aside_old
from mmpipe.steps.keep.restore import BAD_BYTES, Step, restore_files, restore_from_views, set_aside
from mmpipe.steps.keep.revive import GIVEN_UP, place_of, revive_revisions
from mmpipe.steps.keep.verify import find_faults
from mmpipe.store.finding import Finding
from mmpipe.store.heal import find_copies, heal_dataset
from mmpipe.store.layout import DatasetLayout, StoreLayout, format_bytes
from mmpipe.store.lostrevision import find_lost_again
from mmpipe.store.migrate import told_version
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import SCHEMA_NAME
from mmpipe.store.verify import chosen_corpora


def repair_store(
    config: Config,
    layout: StoreLayout,
    corpus: str | None = None,
    copy: StoreLayout | None = None,
    dry_run: bool = False,
    accept_loss: bool = False,
) -> tuple[Step, ...]:
    """Do all that can be done about what verify finds, and return it; verify again to see what is left.

    A revision whose manifest is gone is never given up, nor rows that nothing tells of, unless `accept_loss` says so.
    """
    steps: list[Step] = []
    findings = find_faults(layout, corpus)
    steps += restore_from_views(layout, findings, dry_run)
    if copy is not None:
        findings = _without_restored(findings, steps) if dry_run else find_faults(layout, corpus)
        steps += restore_files(layout, copy, findings, dry_run)
    if steps and not dry_run:
        findings = find_faults(layout, corpus)
    findings = _without_restored(findings, steps)
    if any(finding.code == "format_damaged" for finding in findings):
        steps.append(_write_format(layout, dry_run))  # first: without it nothing can be written
    steps += revive_revisions(layout, findings, dry_run, accept_loss)
    bad = [finding for finding in findings if _is_remade(layout, finding)]
    steps += [_set_aside(layout, finding, dry_run) for finding in bad if finding.code != "object_missing"]
    steps += _note_again(config, layout, bad, dry_run)
    back = _restored(steps)
    foreseen = back if dry_run else None
    tables = find_lost_tables(layout, corpus, findings, back)
    steps += set_aside_old(layout, findings, tables, dry_run)
    made = remake_tables(config, layout, tables, foreseen, accept_loss)  # before features: banks are mixed into some
    made += make_again(config, layout, find_lost_shards(layout, corpus, bad, back), foreseen)
    steps += made
    steps += recount_statistics(layout, findings, dry_run)
    steps += _drop_indexes(layout, findings, dry_run)
    given_up = {step.path for step in steps if step.action == GIVEN_UP}
    left = {step.path.split(" ")[0] for step in made if step.action == "left"} if dry_run else set()
    committed = {step.path for step in made if step.detail.startswith("revision ")}  # their views follow at once
    return (*steps, *_heal(layout, corpus, findings, dry_run, given_up, left, committed))


def _restored(steps: Iterable[Step]) -> frozenset[str]:
    """Return the paths that came back, or would."""
    return frozenset(step.path for step in steps if step.action == "restored")


def _without_restored(findings: Iterable[Finding], steps: Iterable[Step]) -> tuple[Finding, ...]:
    paths = _restored(steps)
    return tuple(finding for finding in findings if finding.path not in paths)


def _is_remade(layout: StoreLayout, finding: Finding) -> bool:
    """Say whether bad bytes have another source than themselves: a feature's objects, head and schema."""
    parts = finding.path.split("/")
    if len(parts) < 3 or not layout.dataset(parts[0], parts[1]).is_feature:
        return False
    if finding.code in {*BAD_BYTES, "fingerprint_damaged"} or (finding.code, parts[2]) == (
        "schema_damaged",
        SCHEMA_NAME,
    ):
        return True
    return finding.code == "manifest_damaged" and _is_last(layout, finding)


def _is_last(layout: StoreLayout, finding: Finding) -> bool:
    path = layout.root / finding.path
    return path.is_file() and path.name == max(other.name for other in path.parent.glob("*.json"))


def _set_aside(layout: StoreLayout, finding: Finding, dry_run: bool) -> Step:
    if not dry_run:
        set_aside(layout, layout.root / finding.path)
    return Step(action="set aside", path=finding.path, detail=finding.code)


def _note_again(config: Config, layout: StoreLayout, bad: Iterable[Finding], dry_run: bool) -> list[Step]:
    """Note again what fingerprints stand for, where the config still wants them."""
    names = {tuple(finding.path.split("/")[:2]) for finding in bad if finding.code == "fingerprint_damaged"}
    steps = []
    for corpus, feature in sorted(names):
        try:
            from mmpipe.features.extractor import feature_name, fingerprint
            from mmpipe.steps.plan.feature_set import resolve_features
            from mmpipe.steps.plan.ledger import identity_of
            from mmpipe.store.identity import note_identity

            for extractor in resolve_features(config, corpus):
                if feature_name(extractor) == feature:
                    if not dry_run:
                        note_identity(layout.dataset(corpus, feature), fingerprint(extractor), identity_of(extractor))
                    steps.append(Step(action="made", path=f"{corpus}/{feature}", detail="the note of its fingerprint"))
        except (MmpipeError, ImportError, KeyError):
            continue
    return steps


def _drop_indexes(layout: StoreLayout, findings: Iterable[Finding], dry_run: bool) -> list[Step]:
    """Remove the indexes that are not whole: searches make them, and make them again."""
    paths = sorted({finding.path for finding in findings if finding.code == "index_damaged"})
    if not dry_run:
        for path in paths:
            drop_index(layout.local / path, layout.staging)
    return [Step(action="removed", path=path, detail="the next search makes it again") for path in paths]


def _write_format(layout: StoreLayout, dry_run: bool) -> Step:
    if not dry_run:
        set_aside(layout, layout.format_file)
        write_durable(layout.format_file, format_bytes(told_version(layout)))
    return Step(action="healed", path=layout.format_file.name)


def _heal(
    layout: StoreLayout,
    corpus: str | None,
    findings: Iterable[Finding],
    dry_run: bool,
    given_up: Collection[str],
    left: Collection[str],
    committed: Collection[str],
) -> list[Step]:
    """Bring views and cards up to the heads, where what they show is there; `left` of a dry run is where it is not."""
    steps = []
    for name in chosen_corpora(layout, corpus):
        for dataset_name in layout.dataset_names(name):
            dataset, path = layout.dataset(name, dataset_name), f"{name}/{dataset_name}"
            if path in left or any(_is_still_bad(dataset, finding, dry_run) for finding in findings):
                continue  # its view may be all that is left of the bytes
            spared = _lost_partitions(layout, dataset, findings, given_up)
            try:
                if (
                    _is_stale(dataset, findings, spared, committed)
                    if dry_run
                    else heal_dataset(dataset, relink=True, spared=spared)
                ):
                    steps.append(Step(action="healed", path=path))
            except MmpipeError as error:
                steps.append(Step(action="left", path=path, detail=str(error).splitlines()[0]))
    return steps


def _is_stale(
    dataset: DatasetLayout, findings: Iterable[Finding], spared: Collection[str], committed: Collection[str]
) -> bool:
    """Say whether a dataset's views or card would change: they are wrong, or a copied store's that can be links."""
    place = f"{dataset.corpus}/{dataset.name}/"
    mine = [finding for finding in findings if finding.path.startswith(place)]
    folders = {finding.path.split("/")[-2] for finding in mine if finding.code.startswith("view_")}
    folders |= {path.parent.name for path in find_copies(dataset)}
    has_card = not spared and any(finding.code.startswith("card_") for finding in mine)
    folders -= {path.split(" ")[1] for path in committed if path.startswith(f"{dataset.corpus}/{dataset.name} ")}
    return has_card or bool(folders - {f"dt={partition}" for partition in spared})


def _lost_partitions(
    layout: StoreLayout, dataset: DatasetLayout, findings: Iterable[Finding], given_up: Collection[str]
) -> frozenset[str]:
    """Return the partitions whose view shows more than their head: also those whose bad head was set aside."""
    asked = {
        place[2] for finding in findings if (place := place_of(finding)) and place[:2] == (dataset.corpus, dataset.name)
    }
    return frozenset(
        partition
        for partition in asked
        if f"{dataset.corpus}/{dataset.name} dt={partition}" not in given_up
        and find_lost_again(layout, dataset, partition)
    )


def _is_still_bad(dataset: DatasetLayout, finding: Finding, dry_run: bool) -> bool:
    if finding.code not in BAD_BYTES or not finding.path.startswith(f"{dataset.corpus}/{dataset.name}/"):
        return False
    if dry_run and (dataset.is_feature or dataset.name in REMADE):
        return False  # it would be made again, or is left and known as that
    name = finding.path.rpartition("/")[2]
    path = dataset.object(name)
    is_bad = not path.is_file() or sha256_file(path) != name
    return is_bad and any(_may_name(dataset, partition, name) for partition in dataset.partitions())


def _may_name(dataset: DatasetLayout, partition: str, sha256: str) -> bool:
    """Say whether a head names an object; one that cannot be read may."""
    try:
        head = read_head(dataset, partition)
    except MmpipeError:
        return True
    return any(file.sha256 == sha256 for shard in (head.shards if head else ()) for file in shard.files)
