"""The verb that asks a published model about raw files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath
from mmpipe.cli.show import Bars, print_json, print_notes, print_rows, print_text
from mmpipe.config import Config, load_config
from mmpipe.errors import PartialError

if TYPE_CHECKING:
    from mmpipe.steps.ask.predict import PredictReport


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(predict)


def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Media files, with sidecars of the same stem; or folders of them."),
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    model: Annotated[str | None, typer.Option(help="NAME (what is in production) or NAME@VERSION.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a row per clip to FILE.parquet, .jsonl or .json.")
    ] = None,
    max_failed: Annotated[
        float, typer.Option(min=0, max=1, help="A larger share of recordings without an answer ends with exit 5.")
    ] = 0.2,
    as_json: AsJson = False,
) -> None:
    """Ask a published model about raw files and folders; what cannot be used is told with its reason."""
    settings = load_config(config)
    made = _predict(settings, paths, model, out)
    if as_json:
        print_json(made.as_json())
    elif out:
        print_text(f"{out}: {made.clips} clips of {made.recordings - made.failed} recordings")
    else:
        print_rows(made.table(), False, f"{made.model}@{made.version}")
    print_notes(_notes(made))
    if made.failed_share > max_failed:
        raise PartialError(
            f"{made.failed} of {made.recordings} recordings have no answer, which is more than --max-failed "
            f"{max_failed:g} allows. What is answered is told. See the reasons above, or allow more.",
            made,
        )


def _predict(settings: Config, paths: list[Path], model: str | None, out: Path | None) -> PredictReport:
    from mmpipe.steps.ask.answer_file import open_answer_file
    from mmpipe.steps.ask.predict import find_askable, predict_files

    reference = model or settings.model(None)[0]
    if out is None:
        with Bars() as bars:
            return predict_files(settings, paths, reference, bars)
    version = find_askable(settings, reference)
    with open_answer_file(out, version) as rows, Bars() as bars:
        return predict_files(settings, paths, f"{version.name}@{version.label}", bars, rows.add, frozenset({out}))


def _notes(made: PredictReport) -> Iterator[str]:
    """Yield what one should know beside the answers."""
    from mmpipe.registry.aliases import WITHHELD

    named = f"{made.model}@{made.version}"
    if made.status in WITHHELD:
        yield f"{named} was refused by the gate: it is kept for its report"
    if made.tainted:
        yield f"{named} is {made.tainted}"
    for features, spoilt in ((made.without_noise, "noise"), (made.without_degrading, "blur and blocks")):
        for feature in features:
            yield f"{feature} is read without the {spoilt} that {named} was trained and measured with"
    for drop in made.unanswered:
        yield f"no answer for {drop.source}: {drop.code}: {drop.detail}"
    if not made.unanswered:  # they went into the file
        for code, count in made.reasons.items():
            yield f"{code}: {count} rows without an answer"
