"""The verbs that make something: config, clips, features, nights, pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    NIGHTS,
    STEPS,
    Anew,
    AsJson,
    ConfigPath,
    Corpus,
    Date,
    DryRun,
    Features,
    FromDate,
    Model,
    OnlyDate,
    ToDate,
    WhichShards,
    open_config,
)
from mmpipe.cli.show import Bars, plain, print_json, print_notes, print_rows, print_text
from mmpipe.config import CONFIG_NAME, ClipRule
from mmpipe.errors import ConfigError, GateRefused
from mmpipe.steps.plan.choices import MAX_IN_FLIGHT, Only
from mmpipe.words import counted

if TYPE_CHECKING:
    from mmpipe.steps.extract.extract import ExtractReport
    from mmpipe.steps.plan.night import NightReport


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    panels: dict[str, tuple[Callable[..., None], ...]] = {
        NIGHTS: (init, run, backfill),
        STEPS: (ingest, extract, report),
    }
    for panel, verbs in panels.items():
        for verb in verbs:
            app.command(rich_help_panel=panel)(verb)


def init(
    corpus: Annotated[Path, typer.Option(help="Folder of raw files or tars, or a table that names files.")],
    labels: Annotated[Path | None, typer.Option(help="Labels table: jsonl, csv or parquet.")] = None,
    target: Annotated[str | None, typer.Option(help="Labels column to learn, or `cue`.")] = None,
    clips: Annotated[ClipRule, typer.Option(help="How to cut recordings into clips.")] = ClipRule.WHOLE,
    store: Annotated[Path, typer.Option(help="Folder of the feature store.")] = Path("store"),
    config: Annotated[Path, typer.Option("--config", "-c", help="Where to write it.")] = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option(help="Overwrite a config that is there.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Look at a folder and write a config for it."""
    from mmpipe.steps.ingest.init import propose_config

    if config.exists() and not force and not dry_run:
        raise ConfigError(f"{config} is there already. Use --force to overwrite it, or --config for another name.")
    proposal = propose_config(corpus, labels, target, clips, store, config.resolve().parent)
    for note in proposal.notes:
        typer.echo(plain(f"# {note}"), err=True)
    if dry_run:
        print_text(proposal.toml.rstrip("\n"))
        return
    config.write_text(proposal.toml, encoding="utf-8")
    print_text(f"wrote {config}. Next: mmpipe run" + ("" if config.name == CONFIG_NAME else f" --config {config}"))


def run(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    dt: Date = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Do a whole night: ingest, extract, train, evaluate, publish, report."""
    from mmpipe.steps.plan.night import run_night, what_is_due, what_waits
    from mmpipe.steps.plan.today import date_now
    from mmpipe.steps.tell.inspect import count_quarantined

    settings, name = open_config(config, corpus)
    date = dt or date_now(settings)
    due = what_is_due(settings, name, date)
    if as_json and (dry_run or not due):
        print_json({"corpus": name, "dt": date, "due": due, "waits": what_waits(settings, name)})
        return
    if not due:
        aside = count_quarantined(settings, name)
        print_text(f"nothing to do: {name} is complete (files in quarantine: {aside})")
        for line in what_waits(settings, name):
            print_text(line)
        return
    if dry_run:
        print_text("\n".join(due))
        return
    with Bars() as bars:
        night = run_night(settings, name, date, bars)
    if as_json:
        print_json(_told(name, date, night))
        _refuse_where_the_gate_did(night)
        return
    print_rows(night.ingested.table(), False, f"ingest of {name}")
    print_notes(night.ingested.notes())
    print_rows(night.committed.table(), False, "features")
    for entry in night.models:
        print_rows(entry.released.table(), False, f"contenders of {entry.released.model}")
        print_text(entry.released.summary().replace("**", "").replace("`", ""))
        print_text(f"report: {entry.report}")
    _print_speed(night.extracted)
    _refuse_where_the_gate_did(night)


def _refuse_where_the_gate_did(night: NightReport) -> None:
    from mmpipe.registry.aliases import WITHHELD

    if any(entry.released.status in WITHHELD and entry.released.is_new for entry in night.models):
        raise GateRefused("the gate refused a fused model; its version is kept with its report")


def _told(corpus: str, dt: str, night: NightReport) -> dict[str, Any]:
    """Return a night as plain values."""
    speed = night.extracted.speed_report
    return {
        "corpus": corpus,
        "dt": dt,
        "ingested": night.ingested.table(),
        "features": night.committed.table(),
        "extracted": _told_extraction(night.extracted),
        "speed": asdict(speed) if speed else None,
        "models": [asdict(entry.released) | {"report": str(entry.report)} for entry in night.models],
    }


def _told_extraction(report: ExtractReport) -> dict[str, Any]:
    names = ("shards", "computed", "reused", "seconds")
    return {name: getattr(report, name) for name in names} | {"quarantined": dict(report.quarantined)}


def _print_speed(report: ExtractReport) -> None:
    if speed := report.speed_report:
        print_rows([{"what": what, "measured": value} for what, value in speed.lines()], False, "speed of extraction")


def ingest(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    dt: Date = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take in what is new in a corpus; --json also lists the files that are left out by rule."""
    from mmpipe.steps.ingest.ingest import ingest_corpus, ingest_reason
    from mmpipe.steps.plan.today import date_now

    settings, name = open_config(config, corpus)
    date = dt or date_now(settings)
    if dry_run:
        reason = ingest_reason(settings, name, date)
        if as_json:
            print_json({"due": reason})
        else:
            print_text(reason or "nothing to do")
        return
    with Bars() as bars:
        made = ingest_corpus(settings, name, date, bars)
    if as_json:
        print_json(asdict(made) | {"partitions": made.table()})
    else:
        print_rows(made.table(), False, f"ingest of {name}")
    print_notes(made.notes())


def extract(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    dt: OnlyDate = None,
    feature: Features = None,
    only: WhichShards = Only.DUE,
    force: Anew = False,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Make the features that are due."""
    from mmpipe.steps.extract.extract import extract_plan
    from mmpipe.steps.plan.plan import plan_corpus

    settings, name = open_config(config, corpus)
    made = plan_corpus(settings, name, (dt,) if dt else None, only, feature, force)
    if dry_run or (made.is_empty and not made.running):
        if as_json:
            print_json({"corpus": name, "due": len(made.shards)})
            return
        print_text(counted(len(made.shards), "shard", "are due", "is due") if made.shards else "nothing to do")
        return
    with Bars() as bars:
        report, committed = extract_plan(settings, made, bars)
    if as_json:
        speed = report.speed_report
        told = _told_extraction(report) | {"speed": asdict(speed) if speed else None}
        print_json({"corpus": name, **told, "features": committed.table()})
        return
    print_text(report.summary().replace("`", ""))
    print_rows(committed.table(), False, "features")
    _print_speed(report)


def backfill(
    first: FromDate,
    last: ToDate,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    feature: Features = None,
    only: WhichShards = Only.DUE,
    force: Anew = False,
    max_in_flight: Annotated[
        int,
        typer.Option(min=1, max=MAX_IN_FLIGHT, help="Dates at once, on one pool of workers."),
    ] = 1,
    dry_run: DryRun = False,
) -> None:
    """Bring a range of dates up to the config of today; a failed date stops no other."""
    from mmpipe.steps.plan.backfill import backfill_dates

    settings, name = open_config(config, corpus)
    with Bars() as bars:
        made = backfill_dates(
            settings, name, first, last, only, feature, dry_run, bars, force=force, max_in_flight=max_in_flight
        )
    print_rows(made.table(), False, f"backfill of {name}")
    made.raise_if_failed()


def report(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    model: Model = None,
    dt: Date = None,
    dry_run: DryRun = False,
) -> None:
    """Write the HTML page of a corpus, with its model where one is trained."""
    from mmpipe.steps.plan.night import models_of
    from mmpipe.steps.plan.today import date_now
    from mmpipe.steps.tell.report import report_path, write_report
    from mmpipe.steps.train.train import newest_checkpoint
    from mmpipe.store.layout import open_store

    settings, name = open_config(config, corpus)
    chosen = model or next(iter(models_of(settings, name)), "")
    date = dt or date_now(settings)
    checkpoint = ""
    try:
        checkpoint = newest_checkpoint(settings, chosen) if chosen else ""
    except ConfigError as error:
        if model:
            raise
        typer.echo(plain(f"the page is without the model: {error}"), err=True)
        chosen = ""
    if dry_run:
        print_text(f"would write {report_path(open_store(settings.store), name, date, chosen)}")
    else:
        print_text(str(write_report(settings, name, date, chosen, checkpoint)))
