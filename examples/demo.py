"""The whole job once, on this machine: a corpus, the nightly flow, a released model, and what to do with it.

Run it again and it finds nothing to do: what is due is asked of the store before Prefect is even started.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.demo_corpus import make_corpus
from mmpipe.config import ClipRule, Config, load_config
from mmpipe.errors import MmpipeError

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    options = parse_options(arguments)
    started = time.monotonic()
    try:
        config_path = prepare(options)
        run_demo(config_path, started)
    except MmpipeError as error:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"error: {error}")
        return error.exit_code
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--corpus", type=Path, help="a folder of your own instead of a made one")
    parser.add_argument("--labels", type=Path, help="its labels: jsonl, csv or parquet")
    parser.add_argument("--target", help="the labels column to learn, or `cue`")
    parser.add_argument("--clips", type=ClipRule, choices=list(ClipRule), default=ClipRule.WHOLE)
    parser.add_argument("--folder", type=Path, help="where the config, the store and the made corpus go")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace) -> Path:
    """Make the corpus where none is given, and the config where none is there; return the config's path."""
    from mmpipe.steps.ingest.init import corpus_name, propose_config

    default = Path("demo") / (corpus_name(options.corpus) if options.corpus else "made")
    folder = (options.folder or default).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    config_path = folder / "mmpipe.toml"
    root, labels, target, name = options.corpus, options.labels, options.target, None
    if root is None:
        console.print("[bold]1[/] a corpus: 96 clips with moving picture, sound and caption, and three broken files")
        corpus = make_corpus(folder / "corpus")
        root, labels, target, name = corpus / "media", corpus / "labels.jsonl", "event", "demo"
    else:
        console.print(f"[bold]1[/] a corpus: {root}")
    if not config_path.exists():
        proposal = propose_config(root, labels, target, options.clips, folder / "store", folder, name)
        config_path.write_text(proposal.toml, encoding="utf-8")
        for note in proposal.notes:
            console.print(f"  {note}", markup=False, style="dim")
    return config_path


def run_demo(config_path: Path, started: float) -> None:
    """Run the night if anything is due, then say what there is."""
    from mmpipe.steps.night.night import what_is_due

    config = load_config(config_path)
    corpus = next(iter(config.corpora))
    dt = datetime.now(UTC).date().isoformat()
    due = what_is_due(config, corpus, dt)
    if due:
        console.print("[bold]2[/] the nightly flow, on a Prefect server that lives as long as it runs")
        console.print(f"  due: {'; '.join(due)}", markup=False, style="dim")
        run_flow(config_path, corpus, dt)
    else:
        console.print("[bold]2[/] nothing to do: every clip, feature and model is complete")
    show_results(config, corpus)
    show_ways_on(config, config_path, corpus)
    console.print(f"[dim]{time.monotonic() - started:.1f} s[/]")


def run_flow(config_path: Path, corpus: str, dt: str) -> None:
    """Run the nightly flow in this process, on an ephemeral server."""
    # Before the first import of Prefect, which reads them once.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    from flows.nightly import nightly
    from flows.parameters import NightlyParameters

    parameters = NightlyParameters(config=str(config_path), corpus=corpus, date=datetime.fromisoformat(dt).date())
    state = nightly(parameters, return_state=True)
    if not state.is_completed():
        state.result(raise_on_failure=True)
    console.print(f"  {state.name}: {state.message}", markup=False)


def show_results(config: Config, corpus: str) -> None:
    """Show what the store holds and what the gate said."""
    from mmpipe.steps.night.night import models_of
    from mmpipe.steps.release.release import last_release
    from mmpipe.steps.tell.inspect import list_datasets

    table = Table("dataset", "rows", "shards", "MB", title="[bold]3[/] the store", title_justify="left", box=None)
    for row in list_datasets(config):
        if row["corpus"] == corpus:
            table.add_row(row["dataset"], str(row["rows"]), str(row["shards"]), f"{row['bytes'] / 1e6:.2f}")
    console.print(table)
    for name in models_of(config, corpus):
        released = last_release(config, name)
        if released is None:
            continue
        table = Table("contender", "kind", "accuracy", "95% interval", "", title=f"[bold]4[/] {name}", box=None)
        table.title_justify = "left"
        for score in released.rows:
            interval = f"{score['low']:.3f} to {score['high']:.3f}"
            mark = "chosen" if score["chosen"] else ""
            table.add_row(score["contender"], score["kind"], f"{score['accuracy']:.3f}", interval, mark)
        console.print(table)
        console.print(f"  {name}@{released.version}: {released.sentence}", markup=False)


def show_ways_on(config: Config, config_path: Path, corpus: str) -> None:
    """Print the report, three programs of other teams, and what to do next."""
    from mmpipe.steps.night.night import models_of
    from mmpipe.steps.share.consumers import consumer_snippets

    reports = sorted((config.store / "reports").glob(f"{corpus}-*.html"))
    if reports:
        console.print(f"[bold]5[/] the report: {reports[-1]}")
    console.print("[bold]6[/] what another team types, without mmpipe:")
    for title, program in consumer_snippets(config.store, corpus):
        console.print(f"\n  # {title}", style="dim", markup=False)
        console.print(program, markup=False)
    mmpipe, model = "./run mmpipe", next(iter(models_of(config, corpus)), "NAME")
    where = f"--config {shown(config_path)}"
    console.print("\n[bold]7[/] next:")
    for command, meaning in (
        ("./run up", "Prefect's UI with these flows, schedules and backfill"),
        (f"{mmpipe} quarantine show {where}", "what could not be used, and why"),
        (f"{mmpipe} models show {model} {where}", "the model's card"),
        (f"{mmpipe} predict {where} FILE", "ask it about a file"),
        ("./run demo --corpus FOLDER --labels FILE", "the same on your own files"),
    ):
        console.print(f"  {command:<64} {meaning}", markup=False)


def shown(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
