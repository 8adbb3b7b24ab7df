"""The verbs that make something: clips, features, nights, pages."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    WAIT_MINUTES,
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
    Wait,
    WhichShards,
    open_config,
)
from mmpipe.cli.show import Bars, plain, print_json, print_notes, print_rows, print_text
from mmpipe.config import load_config
from mmpipe.errors import ConfigError, GateRefused
from mmpipe.steps.plan.choices import MAX_IN_FLIGHT, Only
from mmpipe.steps.shown.choices import MapMethod
from mmpipe.words import counted

if TYPE_CHECKING:
    from pathlib import Path

    from mmpipe.config import Config
    from mmpipe.steps.extract.extract import ExtractReport
    from mmpipe.steps.night.night import NightReport
    from mmpipe.steps.plan.patience import Patience

_OF_THE_CORPUS_PAGE = {"dt": "--dt", "model": "--model", "method": "--map"}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (run, backfill, ingest, extract, report):
        app.command()(verb)


def patience_of(minutes: float) -> Patience:
    """Return how long a verb waits for what others hold; the person hears for whom, and how not to wait."""
    from mmpipe.steps.plan.patience import Patience

    return Patience(seconds=60 * minutes, tell=lambda line: print_notes((f"{line} (--wait 0: do not)",)))


def run(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    dt: Date = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    wait: Wait = WAIT_MINUTES,
) -> None:
    """Do a whole night: ingest, extract, train, evaluate, publish, report."""
    from mmpipe.steps.night.night import run_night, what_is_due, what_waits
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
        night = run_night(settings, name, date, bars, patience_of(wait))
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
    wait: Wait = WAIT_MINUTES,
) -> None:
    """Take in what is new in a corpus; --json also lists the files that are left out by rule."""
    from mmpipe.steps.ingest.ingest import ingest_corpus, ingest_reason
    from mmpipe.steps.plan.patience import do_when_free
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
        made = do_when_free(lambda: ingest_corpus(settings, name, date, bars), patience_of(wait))
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
    wait: Wait = WAIT_MINUTES,
) -> None:
    """Make the features that are due."""
    from mmpipe.steps.extract.beside_others import extract_beside_others
    from mmpipe.steps.plan.plan import plan_corpus

    settings, name = open_config(config, corpus)
    plan = partial(plan_corpus, settings, name, (dt,) if dt else None, only, feature, force)
    made = plan()
    if dry_run or (made.is_empty and not made.running):
        if as_json:
            print_json({"corpus": name, "due": len(made.shards)})
            return
        print_text(counted(len(made.shards), "shard", "are due", "is due") if made.shards else "nothing to do")
        return
    with Bars() as bars:
        report, committed = extract_beside_others(settings, made, plan, patience_of(wait), bars)
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
    wait: Wait = WAIT_MINUTES,
) -> None:
    """Bring a range of dates up to the config of today; a failed date stops no other."""
    from mmpipe.steps.night.backfill import backfill_dates

    settings, name = open_config(config, corpus)
    with Bars() as bars:
        made = backfill_dates(
            settings,
            name,
            first,
            last,
            only,
            feature,
            dry_run,
            bars,
            force=force,
            max_in_flight=max_in_flight,
            patience=patience_of(wait),
        )
    print_rows(made.table(), False, f"backfill of {name}")
    print_notes(made.notes())
    made.raise_if_failed()


def report(
    context: typer.Context,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    model: Model = None,
    dt: Date = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="FEATURE", help="Instead: the card of a feature's dataset.")
    ] = None,
    release: Annotated[
        str | None, typer.Option("--release", metavar="NAME[@V]", help="Instead: the card of a published model.")
    ] = None,
    method: Annotated[
        MapMethod, typer.Option("--map", help="How clips are put on a plane; umap needs the extra mmpipe[umap].")
    ] = MapMethod.PCA,
    dry_run: DryRun = False,
) -> None:
    """Write the HTML page of a corpus, with its model where one is trained; or the card of a dataset or a release."""
    if dataset and release:
        raise typer.BadParameter("--dataset and --release are two pages: ask for one at a time")
    if release:
        _refuse_beside(context, "--release", corpus="--corpus", **_OF_THE_CORPUS_PAGE)
        made = _release_card(load_config(config), release, dry_run)
    elif dataset:
        _refuse_beside(context, "--dataset", **_OF_THE_CORPUS_PAGE)
        made = _dataset_card(*open_config(config, corpus), dataset, dry_run)
    else:
        made = _corpus_page(*open_config(config, corpus), model, dt, method, dry_run)
    print_text(f"would write {made}" if dry_run else str(made))


def _refuse_beside(context: typer.Context, page: str, **options: str) -> None:
    """Refuse options that say nothing of a page: whoever gave them expects another one."""
    for parameter, option in options.items():
        source = context.get_parameter_source(parameter)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"{option} says nothing of the page that {page} asks for: leave one of them out")


def _corpus_page(
    settings: Config, corpus: str, model: str | None, dt: str | None, method: MapMethod, dry_run: bool
) -> Path:
    from mmpipe.steps.night.night import models_of
    from mmpipe.steps.plan.today import date_now
    from mmpipe.steps.tell.report import report_path, write_report
    from mmpipe.steps.train.train import newest_checkpoint
    from mmpipe.store.layout import open_store

    chosen = model or next(iter(models_of(settings, corpus)), "")
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
        return report_path(open_store(settings.store), corpus, date, chosen)
    return write_report(settings, corpus, date, chosen, checkpoint, method)


def _dataset_card(settings: Config, corpus: str, feature: str, dry_run: bool) -> Path:
    from mmpipe.steps.shown.dataset_card import dataset_card_path, write_dataset_card
    from mmpipe.steps.tell.samples import full_name
    from mmpipe.store.layout import open_store

    if dry_run:
        return dataset_card_path(open_store(settings.store), corpus, full_name(settings, corpus, feature))
    return write_dataset_card(settings, corpus, feature)


def _release_card(settings: Config, reference: str, dry_run: bool) -> Path:
    from mmpipe.steps.shown.release_card import find_release_card, write_release_card

    return find_release_card(settings, reference) if dry_run else write_release_card(settings, reference)
