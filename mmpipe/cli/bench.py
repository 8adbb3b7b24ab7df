"""The verbs that measure."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, Corpus, open_config
from mmpipe.cli.show import print_json, print_rows, print_text


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(no_args_is_help=True, help="How fast it is here, and how fast it could be.", name="bench")
    group.callback()(_keep_the_verb)
    group.command()(extract)
    app.add_typer(group)


def _keep_the_verb() -> None:
    """Measure; a single verb would stand for the group."""


def _check_device(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise typer.BadParameter(f"auto, cpu, cuda or cuda:1, not {value!r}")
    return value


def extract(
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    device: Annotated[
        str | None, typer.Option(callback=_check_device, help="auto, cpu, cuda or cuda:1; as configured.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="About so many clips of the corpus, drawn over its shards.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Extract a sample into a scratch store, beside the bare decoder and the bare encoder on the same clips."""
    from mmpipe.steps.speed.speed_bench import bench_extract

    settings, name = open_config(config, corpus)
    made = bench_extract(settings, name, clips, device)
    if as_json:
        print_json(asdict(made))
        return
    rows = [{"what": what, "measured": value} for what, value in made.speed.lines()]
    rows.append({"what": "start-up", "measured": f"{made.start_s:.1f} s until every worker had made a clip"})
    print_rows(rows, False, f"{made.speed.clips} clips of {name} on {made.device}: {', '.join(made.features)}")
    if made.left_out:
        print_text(f"left out, since they read the store: {', '.join(made.left_out)}")
