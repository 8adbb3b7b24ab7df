"""Repair a store: copies first, then only what is bad or gone is made again, then views and cards follow.

Bad bytes are moved to `_staging/damaged/` and never deleted. What has no other source than itself (the spine, the
assets, old manifests, snapshots, models) stays where it is unless a copy of the store has it whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mmpipe.config import Config
from mmpipe.errors import MmpipeError
from mmpipe.io import sha256_file, write_durable
from mmpipe.steps.recount import recount_statistics
from mmpipe.steps.restore import BAD_BYTES, Step, restore_files, restore_from_views, set_aside
from mmpipe.steps.revive import GIVEN_UP, place_of, revive_revisions
from mmpipe.steps.verify import find_faults
from mmpipe.store.finding import Finding
from mmpipe.store.heal import heal_dataset
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout, format_bytes
from mmpipe.store.lostrevision import find_lost_again
from mmpipe.store.migrate import told_version
from mmpipe.store.objects import has_object
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import SCHEMA_NAME
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import chosen_corpora

_LEFT = "it is due: `mmpipe run` makes it, where the raw files and the pipeline's install are"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Lost:
    """One shard of one feature that has to be made again."""

    corpus: str
    partition: str
    shard: int
    feature: str


def repair_store(
    config: Config,
    layout: StoreLayout,
    corpus: str | None = None,
    copy: StoreLayout | None = None,
    dry_run: bool = False,
    accept_loss: bool = False,
) -> tuple[Step, ...]:
    """Do all that can be done about what verify finds, and return it; verify again to see what is left.

    A revision whose manifest is gone is never given up, unless `accept_loss` says so.
    """
    steps: list[Step] = []
    findings = find_faults(layout, corpus)
    steps += restore_from_views(layout, findings, dry_run)
    if copy is not None:
        findings = find_faults(layout, corpus)
        steps += restore_files(layout, copy, findings, dry_run)
    if steps:
        findings = find_faults(layout, corpus)
    restored = {step.path for step in steps if step.action == "restored"}
    findings = tuple(finding for finding in findings if finding.path not in restored)  # of a dry run
    steps += revive_revisions(layout, findings, dry_run, accept_loss)
    bad = [finding for finding in findings if _is_remade(layout, finding)]
    steps += [_set_aside(layout, finding, dry_run) for finding in bad if finding.code != "object_missing"]
    steps += [] if dry_run else _note_again(config, layout, bad)
    lost = _lost_shards(layout, corpus, bad)
    steps += _make_again(config, layout, lost, dry_run)
    steps += recount_statistics(layout, findings, dry_run)
    if any(finding.code == "format_damaged" for finding in findings):
        steps.append(_write_format(layout, dry_run))
    given_up = {step.path for step in steps if step.action == GIVEN_UP}
    return (*steps, *_heal(layout, corpus, findings, dry_run, given_up))


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


def _lost_shards(layout: StoreLayout, corpus: str | None, bad: Iterable[Finding]) -> list[_Lost]:
    """Return the shards whose bytes are bad or gone, and all of a partition whose head was bad."""
    names = {finding.path.rpartition("/")[2] for finding in bad if finding.code in BAD_BYTES}
    headless = {tuple(finding.path.split("/")[:4]) for finding in bad if finding.code == "manifest_damaged"}
    lost: set[_Lost] = set()
    for name in chosen_corpora(layout, corpus):
        for feature in layout.feature_names(name):
            dataset = layout.dataset(name, feature)
            for partition in dataset.partitions():
                numbers = _bad_shards(dataset, partition, names)
                if (name, feature, "_meta", f"dt={partition}") in headless:
                    spine = layout.dataset(name, CLIPS)
                    head = read_head(spine, partition) if partition in spine.partitions() else None
                    numbers |= {shard.number for shard in head.shards} if head else set()
                lost |= {_Lost(corpus=name, partition=partition, shard=n, feature=feature) for n in numbers}
    return sorted(lost)


def _bad_shards(dataset: DatasetLayout, partition: str, names: set[str]) -> set[int]:
    try:
        head = read_head(dataset, partition)
    except MmpipeError:
        return set()  # its head is bad itself
    return {
        shard.number
        for shard in (head.shards if head else ())
        for file in shard.files
        if file.sha256 in names or not has_object(dataset, file)
    }


def _make_again(config: Config, layout: StoreLayout, lost: list[_Lost], dry_run: bool) -> list[Step]:
    """Make the lost shards, and no other, as the config says; what cannot be made stays due."""
    steps = []
    for corpus, feature in sorted({(item.corpus, item.feature) for item in lost}):
        shards = [item for item in lost if (item.corpus, item.feature) == (corpus, feature)]
        why = "" if dry_run else _extract(config, layout, corpus, feature, shards)
        for item in shards:
            path = f"{corpus}/{feature} dt={item.partition} shard {item.shard}"
            steps.append(
                Step(action="left", path=path, detail=f"{_LEFT} ({why})") if why else Step(action="made", path=path)
            )
    return steps


def _extract(config: Config, layout: StoreLayout, corpus: str, feature: str, shards: list[_Lost]) -> str:
    """Make shards of one feature and commit them; return why that cannot be, "" where it was done."""
    try:
        from mmpipe.steps.extract import extract_plan
        from mmpipe.steps.plan import Plan, ShardDue

        spine = read_spine(layout, corpus, sorted({item.partition for item in shards}))
        dues = []
        for item in shards:
            rows = (spine["partition"] == item.partition) & (spine["shard"] == item.shard)
            dues.append(
                ShardDue(
                    partition=item.partition,
                    shard=item.shard,
                    features=(feature,),
                    reasons=("its bytes are damaged or gone",),
                    clips=int(rows.sum()),
                    again=True,
                    reuse=False,
                )
            )
        extract_plan(config, Plan(corpus=corpus, shards=tuple(dues)))
    except (MmpipeError, ImportError, KeyError) as error:
        return str(error).splitlines()[0]
    return ""


def _note_again(config: Config, layout: StoreLayout, bad: Iterable[Finding]) -> list[Step]:
    """Note again what fingerprints stand for, where the config still wants them."""
    names = {tuple(finding.path.split("/")[:2]) for finding in bad if finding.code == "fingerprint_damaged"}
    steps = []
    for corpus, feature in sorted(names):
        try:
            from mmpipe.features.extractor import feature_name, fingerprint
            from mmpipe.steps.feature_set import resolve_features
            from mmpipe.steps.ledger import identity_of
            from mmpipe.store.identity import note_identity

            for extractor in resolve_features(config, corpus):
                if feature_name(extractor) == feature:
                    note_identity(layout.dataset(corpus, feature), fingerprint(extractor), identity_of(extractor))
                    steps.append(Step(action="made", path=f"{corpus}/{feature}", detail="the note of its fingerprint"))
        except (MmpipeError, ImportError, KeyError):
            continue
    return steps


def _write_format(layout: StoreLayout, dry_run: bool) -> Step:
    if not dry_run:
        set_aside(layout, layout.format_file)
        write_durable(layout.format_file, format_bytes(told_version(layout)))
    return Step(action="healed", path=layout.format_file.name)


def _heal(
    layout: StoreLayout, corpus: str | None, findings: Iterable[Finding], dry_run: bool, given_up: Collection[str]
) -> list[Step]:
    """Bring views and cards up to the heads, where what they show is there."""
    if dry_run:
        stale = [finding for finding in findings if finding.code.startswith(("view_", "card_"))]
        return [Step(action="healed", path=finding.path) for finding in stale]
    steps = []
    for name in chosen_corpora(layout, corpus):
        for dataset_name in layout.dataset_names(name):
            dataset = layout.dataset(name, dataset_name)
            if any(_is_still_bad(dataset, finding) for finding in findings):
                continue  # its view may be all that is left of the bytes
            spared = _lost_partitions(layout, dataset, findings, given_up)
            try:
                if heal_dataset(dataset, relink=True, spared=spared):
                    steps.append(Step(action="healed", path=f"{name}/{dataset_name}"))
            except MmpipeError as error:
                steps.append(Step(action="left", path=f"{name}/{dataset_name}", detail=str(error).splitlines()[0]))
    return steps


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


def _is_still_bad(dataset: DatasetLayout, finding: Finding) -> bool:
    name = finding.path.rpartition("/")[2]
    path = dataset.object(name)
    mine = finding.code in BAD_BYTES and finding.path.startswith(f"{dataset.corpus}/{dataset.name}/")
    return mine and (not path.is_file() or sha256_file(path) != name)
