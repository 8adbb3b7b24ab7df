"""The verb that finds clips by a text, a file or another clip."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmpipe.cli import names
from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, Wait
from mmpipe.cli.show import Bars, plain, print_json, print_rows
from mmpipe.config import Config, Goal, load_config
from mmpipe.errors import ConfigError
from mmpipe.types import Split

if TYPE_CHECKING:
    from mmpipe.steps.search.query import Query

WAIT_MINUTES = 2.0  # for who makes the index: a person sits and waits
LONGEST_TEXT = 60  # characters of a clip's text or labels in a table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(search)


def search(
    among: Annotated[
        str | None,
        typer.Option("--in", metavar="MODALITY", help="What is looked through: video, audio+video."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="Find what belongs to this text.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Find what belongs to the sound of this file.")] = None,
    video: Annotated[Path | None, typer.Option(help="Find what belongs to the picture of this film.")] = None,
    image: Annotated[Path | None, typer.Option(help="Find what belongs to this picture.")] = None,
    array: Annotated[Path | None, typer.Option(help="Find what belongs to the numbers of this file.")] = None,
    clip: Annotated[str | None, typer.Option(metavar="KEY", help="Find what belongs to this clip.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            autocompletion=names.models,
            help='NAME or NAME@VERSION of a release with goal = "retrieve"; the only one of the config.',
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-k", min=1, max=10_000, help="How many clips.")] = 10,
    corpus: Annotated[
        str | None,
        typer.Option(autocompletion=names.corpora, help="Where to look; none: the corpus that the model learnt from."),
    ] = None,
    split: Annotated[Split | None, typer.Option(help="Only clips of this split.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only clips with this label; may be given again.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every clip, however many there are.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Ask with every test clip; compare with the evaluation (exit 1)."),
    ] = False,
    wait: Wait = WAIT_MINUTES,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Find clips by a text, a file or another clip, in the space of a release that coordinates modalities."""
    from mmpipe.steps.search.query import Query

    settings = load_config(config)
    reference = model or _only_model(settings)
    asked = [one for one in (text, audio, video, image, array, clip) if one is not None]
    if check:
        if asked:
            raise typer.BadParameter("--check asks with the clips that the release was tested on, and nothing else")
        _check(settings, reference, 60 * wait, as_json)
        return
    if among is None:
        raise typer.BadParameter("say what to look through, as in --in video")
    if len(asked) != 1:
        raise typer.BadParameter("ask one thing: --text, --audio, --video, --image, --array or --clip")
    query = Query(text=text, audio=audio, video=video, image=image, array=array, clip=clip)
    _search(settings, reference, query, among, count, corpus, split, _pairs(where or []), exact, 60 * wait, as_json)


def _search(
    settings: Config,
    reference: str,
    query: Query,
    among: str,
    count: int,
    corpus: str | None,
    split: Split | None,
    where: dict[str, str],
    exact: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    from mmpipe.registry.aliases import WITHHELD
    from mmpipe.steps.search.search import search_clips

    with Bars() as bars:
        made = search_clips(
            settings,
            reference,
            query,
            among,
            count=count,
            corpus=corpus,
            split=split,
            where=where,
            exact=exact,
            wait_s=wait_s,
            tell=_say,
            progress=bars,
        )
    if as_json:
        print_json(made.as_json())
    else:
        rows = [{**row, "text": _cut(row["text"]), "labels": _cut(row["labels"])} for row in made.table()]
        print_rows(rows, False, f"{made.among} of {made.corpus}, by {made.asked_by} and {made.model}")
    if made.status in WITHHELD:
        _say(f"{made.model} was refused by the gate: it is kept for its report")
    if made.tainted:
        _say(f"{made.model} is {made.tainted}")
    for line in made.left_out:
        _say(f"not asked with {line}")


def _check(settings: Config, reference: str, wait_s: float, as_json: bool) -> None:
    from mmpipe.steps.search.check import check_search

    made = check_search(settings, reference, wait_s=wait_s, tell=_say)
    if as_json:
        print_json(asdict(made) | {"holds": made.holds})
    else:
        print_rows(made.table(), False, f"{made.model} on {made.clips} test clips of {made.corpus}")
    if not made.holds:
        _say(f"{made.moved} clips stand elsewhere than the evaluation has them")
        raise typer.Exit(1)


def _only_model(settings: Config) -> str:
    """Return the one model of the config that can be searched with."""
    names = [name for name, model in settings.models.items() if model.goal is Goal.RETRIEVE]
    if len(names) != 1:
        told = f"{len(names)} of them: {', '.join(names)}. Name one with --model" if names else "none. Add one"
        raise ConfigError(f'a search needs a model with goal = "retrieve", and the config has {told}')
    return names[0]


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if wrong := [word for word, pair in zip(words, pairs, strict=True) if not (pair[0] and pair[1])]:
        raise typer.BadParameter(f"--where is COLUMN=VALUE, got {wrong[0]!r}")
    return {column.strip(): value.strip() for column, _, value in pairs}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def _say(line: str) -> None:
    typer.echo(plain(line), err=True)
