"""The verbs that keep the store: snapshots, retention, the audit log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from mmpipe.cli import names
from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Corpus,
    DryRun,
    Features,
    FirstDate,
    LastDate,
    Reason,
    open_config,
)
from mmpipe.cli.show import print_json, print_rows, print_text
from mmpipe.config import load_config

Snapshot = Annotated[str, typer.Argument(metavar="NAME", autocompletion=names.snapshots, help="A name, or a digest.")]
Side = Annotated[
    str,
    typer.Argument(autocompletion=names.snapshots, help="A name, a digest, or `head`: what the store holds now."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(no_args_is_help=True, help="Frozen states of the store, by name.", name="snapshot")
    for verb in (create, ls, show, drop, diff):
        group.command()(verb)
    app.add_typer(group)
    for single in (gc, audit):
        app.command()(single)


def create(
    name: Annotated[str, typer.Argument(help="A name of its own; it never moves.")],
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    feature: Features = None,
    first: FirstDate = None,
    last: LastDate = None,
    reason: Annotated[str, typer.Option(help="What it is for, kept with it.")] = "",
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Freeze what the store holds now, with labels and splits, under a name."""
    from mmpipe.steps.train.snapshots import create_snapshot

    settings, chosen = open_config(config, corpus)
    made = create_snapshot(settings, name, chosen, feature, first, last, reason, dry_run)
    if as_json:
        print_json(asdict(made))
        return
    verb = "would name" if dry_run else "named"
    print_text(f"{verb} snapshot {made.snapshot} {name!r}: {made.corpus} {made.first} to {made.last}")
    if not dry_run and made.features:
        print_text(f"Train on it: mmpipe train --snapshot {name}")
    elif not dry_run:
        print_text("It has clips and labels alone: no feature was made yet. Make them with: mmpipe extract")


def ls(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the snapshots, with what rests on each."""
    from mmpipe.steps.train.snapshots import kept_snapshots

    rows = [asdict(kept) for kept in kept_snapshots(load_config(config))]
    print_rows(rows if as_json else [_short(row) for row in rows], as_json, "snapshots")


def show(name: Snapshot, config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show what a snapshot pins: one row per dataset and partition."""
    from mmpipe.steps.train.snapshots import pinned_partitions

    rows = [asdict(pinned) for pinned in pinned_partitions(load_config(config), name)]
    for row in rows:
        row["bytes"] = row.pop("nbytes")
        row["sha256"] = row.pop("sha256") if as_json else row.pop("sha256")[:12]
        if not as_json and row.pop("redacted"):
            row["redacted"] = "something was forgotten out of it"
    print_rows(rows, as_json, f"snapshot {name}")


def drop(
    name: Annotated[str, typer.Argument(autocompletion=names.snapshots, help="The name to take away.")],
    reason: Reason,
    config: ConfigPath = DEFAULT_CONFIG,
    dry_run: DryRun = False,
) -> None:
    """Take a snapshot's name away; what nothing else rests on is then left to `mmpipe gc`."""
    from mmpipe.steps.train.snapshots import drop_snapshot

    made = drop_snapshot(load_config(config), name, reason, dry_run)
    print_text(f"{'would drop' if dry_run else 'dropped'} the name {name!r} of snapshot {made.snapshot}")
    print_text(f"it stays, held by {', '.join(made.held_by)}" if made.held_by else "nothing else rests on it")


def diff(before: Side, after: Side, config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show what differs between two snapshots: revisions, shards, clips, labels, quarantine."""
    from mmpipe.steps.train.snapshots import compare_snapshots

    found = [asdict(row) for row in compare_snapshots(load_config(config), before, after)]
    print_rows(found if as_json else [_changes(row) for row in found], as_json, f"changes from {before} to {after}")


def gc(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Annotated[str | None, typer.Option(help="Only the objects of this corpus; none: the whole store.")] = None,
    older_than: Annotated[float | None, typer.Option(metavar="DAYS", min=0, help="Instead of retention.days.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; otherwise it is only listed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what nothing rests on any more, or remove it; manifests stay."""
    from mmpipe.steps.keep.gc import collect_garbage

    made = collect_garbage(load_config(config), corpus, older_than, delete)
    if as_json:
        print_json({**asdict(made), "nbytes": made.nbytes})
        return
    verb = "removed" if delete else "would go"
    print_rows(made.table(), False, f"{verb}, older than {made.days:g} days")
    if made.items and not delete:
        same = "mmpipe gc" + (f" --corpus {corpus}" if corpus else "")
        same += "" if older_than is None else f" --older-than {older_than:g}"
        print_text(f"Nothing was removed. Remove it: {same} --delete; see each thing: {same} --json")


def audit(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show who did what to the store, when and why; the log is checked first."""
    from mmpipe.steps.train.snapshots import audit_log

    events = audit_log(load_config(config))
    if as_json:
        print_json([{**asdict(event), "digest": event.digest()} for event in events])
        return
    columns = ("number", "when", "who", "kind", "subject", "reason", "result")
    print_rows([{name: getattr(event, name) for name in columns} for event in events], False, "audit log")
    if events:
        print_text(f"newest record: {events[-1].number}, digest {events[-1].digest()}")


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot as a table shows it."""
    lists = {"features": " ".join(row["features"]), "held_by": ", ".join(row["held_by"])}
    return {key: value for key, value in {**row, **lists}.items() if key != "created_by"}


def _changes(row: dict[str, Any]) -> dict[str, Any]:
    """Return a difference as a table shows it: what was there, and what became of it."""
    return {
        "dataset": row["dataset"],
        "dt": row["partition"],
        "revisions": f"{row['revision_before'] or 'none'} -> {row['revision_after'] or 'none'}",
        "shards": f"+{row['shards_added']} -{row['shards_removed']} ~{row['shards_changed']}",
        "clips": f"+{row['clips_added']} -{row['clips_removed']}",
        "relabelled": row["clips_relabelled"],
        "resplit": row["clips_resplit"],
        "quarantined": f"{row['quarantined']:+d}" if row["quarantined"] else "0",
    }
