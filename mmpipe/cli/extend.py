"""The verbs for those who bring something of their own: a new package, and a check of what it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmpipe.cli.options import AsJson, DryRun
from mmpipe.cli.show import print_notes, print_rows, print_text
from mmpipe.plugins import PluginKind
from mmpipe.types import Modality

_INTO, _GOLDEN = Path(), Path("tests") / "golden"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(new)
    checks = typer.Typer(no_args_is_help=True, help="Check what you brought: an extractor against its golden.")
    checks.command("extractor")(check_extractor)
    app.add_typer(checks, name="check")


def new(
    kind: Annotated[PluginKind, typer.Argument(metavar="KIND", help="extractor, fusion, or source.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in the config, as audio-rhythm.")],
    into: Annotated[Path, typer.Option("--into", help="The folder in which the package's own is made.")] = _INTO,
    modality: Annotated[
        Modality | None, typer.Option(help="What an extractor reads; none: what its name begins with.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write a plug-in package that installs, works, and passes its own test."""
    from mmpipe.steps.extend.new import plan_new, write_new

    starter, files = plan_new(kind, name, modality, into)
    folder = into / starter.package
    if not dry_run:
        write_new(starter, into)
    said = "would be written" if dry_run else "written"
    print_rows([{"file": str(folder / file)} for file in files], as_json, said)
    print_notes([f"next: pip install -e {folder} && python -m pytest {folder}"])


def check_extractor(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An extractor, built in or installed.")],
    golden: Annotated[Path, typer.Option("--golden", help="The folder with NAME@VERSION.json.")] = _GOLDEN,
    record: Annotated[bool, typer.Option("--record", help="Write the golden of a version that has none.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Replay an extractor over made clips: other values need another version (exit 1: they are others)."""
    from mmpipe.steps.extend.golden import check_golden, write_golden

    if record:
        path = write_golden(name, golden, dry_run=dry_run)
        print_rows([{"file": str(path)}], as_json, "would be written" if dry_run else "recorded")
        return
    faults = check_golden(name, golden)
    if as_json:
        print_rows([{"extractor": name, "fault": fault} for fault in faults], as_json)
    else:
        print_text("\n".join(faults) or f"{name}: it gives what its golden says")
    if faults:
        raise typer.Exit(1)
