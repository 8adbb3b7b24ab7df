"""The verbs that ask the ledger: what is due, and how far everything is."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    LOOKING,
    NIGHTS,
    AsJson,
    ConfigPath,
    Corpus,
    Features,
    FirstDate,
    LastDate,
    open_config,
)
from mmpipe.cli.show import print_rows
from mmpipe.steps.choices import Only


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(rich_help_panel=NIGHTS)(plan)
    app.command(rich_help_panel=LOOKING)(status)


def plan(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    first: FirstDate = None,
    last: LastDate = None,
    feature: Features = None,
    only: Annotated[Only, typer.Option(help="Which shards: due means missing or stale.")] = Only.DUE,
    as_json: AsJson = False,
) -> None:
    """Say what is due, and why."""
    from mmpipe.steps.ingest import ingest_reason
    from mmpipe.steps.night import date_now
    from mmpipe.steps.plan import dates_between, plan_corpus

    settings, name = open_config(config, corpus)
    today = date_now(settings)
    new_files = ingest_reason(settings, name, today)
    rows: list[dict[str, object]] = []
    if new_files:
        rows.append({"dt": today, "shard": "", "feature": "(ingest)", "clips": "", "reason": new_files})
    if not settings.store.exists():
        print_rows(rows, as_json, "due")
        return
    made = plan_corpus(settings, name, dates_between(settings, name, first, last), only, feature)
    rows += [
        {"dt": due.partition, "shard": due.shard, "feature": feature, "clips": due.clips, "reason": reason}
        for due in made.shards
        for feature, reason in zip(due.features, due.reasons, strict=True)
    ]
    print_rows(rows, as_json, "due")


def status(config: ConfigPath = DEFAULT_CONFIG, corpus: Corpus = None, as_json: AsJson = False) -> None:
    """Show the state of every partition and feature."""
    from mmpipe.steps.plan import read_states

    settings, name = open_config(config, corpus)
    states = read_states(settings, name)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for state in states:
        row = rows.setdefault(
            (state.partition, state.feature),
            {
                "dt": state.partition,
                "feature": state.feature,
                "clips": 0,
                "values": 0,
                "quarantined": 0,
                "state": Counter(),
            },
        )
        row["clips"] += state.clips
        row["values"] += state.samples
        row["quarantined"] += state.quarantined
        row["state"][str(state.state)] += 1
    for row in rows.values():
        row["state"] = ", ".join(f"{count} {state}" for state, count in sorted(row["state"].items()))
    print_rows(list(rows.values()), as_json, f"{name}: shards by state")
