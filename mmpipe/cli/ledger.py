"""The verbs that ask the ledger: what is due, and how far everything is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    Anew,
    AsJson,
    ConfigPath,
    Corpus,
    Features,
    FirstDate,
    LastDate,
    WhichShards,
    open_config,
)
from mmpipe.cli.show import plain, print_json, print_rows, print_text
from mmpipe.steps.plan.choices import Only

_MOST_ROWS = 40  # on a terminal


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(plan)
    app.command()(status)


def plan(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    first: FirstDate = None,
    last: LastDate = None,
    feature: Features = None,
    only: WhichShards = Only.DUE,
    force: Anew = False,
    as_json: AsJson = False,
) -> None:
    """Say what is due and why, and what it will take."""
    from mmpipe.steps.ingest.ingest import ingest_reason
    from mmpipe.steps.night.night import models_due
    from mmpipe.steps.plan.feature_set import check_tables, resolve_features
    from mmpipe.steps.plan.forecast import forecast_plan, totals_of
    from mmpipe.steps.plan.plan import Plan, dates_between, plan_corpus
    from mmpipe.steps.plan.today import date_now

    settings, name = open_config(config, corpus)
    check_tables(settings)  # a wrong parameter is told before the first ingest, not after hours of it
    today = date_now(settings)
    new_files = ingest_reason(settings, name, today)
    rows: list[dict[str, Any]] = []
    if new_files:
        rows.append({"dt": today, "shard": "", "feature": "(ingest)", "clips": "", "reason": new_files})
    made = Plan(corpus=name, shards=())
    if not settings.store.exists():
        resolve_features(settings, name)  # and so is a model that is not there
    else:
        dates = dates_between(settings, name, first, last) if first or last else None
        made = plan_corpus(settings, name, dates, only, feature, force)
    rows += [
        {"dt": due.partition, "shard": due.shard, "feature": feature, "clips": due.clips, "reason": reason}
        for due in made.shards
        for feature, reason in due.named_reasons()
    ]
    if not (new_files or first or last or feature or force or only is not Only.DUE):
        rows += [
            {"dt": today, "shard": "", "feature": f"(train {model})", "clips": "", "reason": reason}
            for model, reason in models_due(settings, name, made)
        ]
    running = [
        {"dt": state.partition, "shard": state.shard, "feature": state.feature, "by": state.reason}
        for state in made.running
    ]
    forecast = forecast_plan(settings, made)
    if as_json:
        held = [
            {"dt": state.partition, "shard": state.shard, "feature": state.feature, "reason": state.reason}
            for state in made.held
        ]
        print_json({"due": rows, "running": running, "held": held, "totals": forecast.table()})
        return
    _print_newest(rows, "due")
    if new_files:
        print_text("What follows from the new files shows once they are taken in.")
    for reason in made.held_reasons:
        print_text(reason)
    if running:
        _print_newest(running, "running: left out")
    if made.shards:
        print_rows(
            [{"total": what, "estimate": text} for what, text in totals_of(forecast).items()], False, "all of it"
        )


def status(config: ConfigPath = DEFAULT_CONFIG, corpus: Corpus = None, as_json: AsJson = False) -> None:
    """Show how far every date and feature is, and how fresh (exit 1: one is older than `max_age_h` allows).

    A feature that cannot be made on this machine is unknown: the others are shown, and where there is a `max_age_h` it
    counts as late.
    """
    from mmpipe.steps.plan.status import read_status

    settings, name = open_config(config, corpus)
    found = read_status(settings, name)
    if as_json:
        fresh = {entry.feature: entry for entry in found.freshness}
        extra = {
            feature: {"newest": entry.newest, "age_h": entry.age_h, "published": entry.published, "late": entry.late}
            for feature, entry in fresh.items()
        }
        print_json([asdict(cell) | extra[cell.feature] for cell in found.cells])
    else:
        _print_newest(found.matrix(), f"{name}: shards by state")
        ages = [
            asdict(entry) | {"age_h": "" if entry.age_h is None else round(entry.age_h, 1)} for entry in found.freshness
        ]
        print_rows(ages, False, "newest whole date")
    for feature, why in found.faults.items():
        typer.echo(plain(f"unknown: {feature} cannot be made here: {why}"), err=True)
    if late := list(found.late()):
        for entry in late:
            typer.echo(plain(f"late: {found.sentence(entry)}"), err=True)
        raise typer.Exit(1)


def _print_newest(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Print the newest rows, and say how many are left out."""
    shown = sorted(rows, key=lambda row: str(row["dt"]))[-_MOST_ROWS:]
    print_rows(shown, False, title)
    if len(shown) < len(rows):
        print_text(f"{len(rows) - len(shown):,} older rows are left out; --json has all")
