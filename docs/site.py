"""What the site has beyond the written pages: references, generated from the parser, the config and the registries."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from mmpipe.config.keys import ConfigKey

ROOT = Path(__file__).resolve().parent.parent
_HOW_TO = "How to"
_SECTIONS = {
    "Reading a store": ("batches", "steps"),
    "Values": ("types", "config"),
    "Extractors and sources": ("features", "sources"),
    "Fusions": ("fusion",),
    "Errors": ("errors",),
}
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages of how-to that the table of contents does not name at its end."""
    for entry in config.nav or []:
        listed = entry.get(_HOW_TO) if isinstance(entry, dict) else None
        if listed is not None:
            written = sorted(f"how-to/{path.name}" for path in (ROOT / "docs" / "how-to").glob("*.md"))
            listed += [page for page in written if page not in listed]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated."""
    from mkdocs.structure.files import File

    for name, make in generated_pages().items():
        files.append(File.generated(config, name, content=make()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files outside of docs/ into their names: a reader of the site has a checkout, or has none."""
    folder = posixpath.dirname(page.file.src_uri)

    def written(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, link[2]))
        return link[0] if target.startswith("docs/") or "://" in link[2] else f"{link[1]} (`{target}` of the checkout)"

    return LINK.sub(written, markdown)


def generated_pages() -> dict[str, Callable[[], str]]:
    """Return the names of generated pages, with what makes each."""
    return {
        "reference/cli.md": cli_page,
        "reference/config.md": config_page,
        "reference/fusions.md": fusions_page,
        "reference/goals.md": goals_page,
        "reference/python.md": python_page,
    }


def cli_page() -> str:
    """Return every verb with its options, as the parser has them."""
    import typer.main

    from mmpipe.cli.lazy import leaves_of
    from mmpipe.cli.main import app
    from mmpipe.cli.verbs import PANELS, VERBS

    root = typer.main.get_command(app)
    commands = dict(leaves_of(root))
    lines = ["# Command line", "", "Results go to stdout, progress and errors to stderr."]
    for panel in PANELS:
        lines += ["", f"## {panel}"]
        for verb in (verb for verb in VERBS if verb.panel == panel):
            for words, command in commands.items():
                if words[0] == verb.name:
                    told = [example for example in verb.examples if tuple(example.split()[: len(words)]) == words]
                    lines += _verb(words, command, told)
    return "\n".join(lines) + "\n"


def _verb(words: tuple[str, ...], command: Any, examples: list[str]) -> Iterator[str]:
    yield from ("", f"### mmpipe {' '.join(words)}", "", _cell(command.help or ""), "")
    yield from (*(f"    mmpipe {example}" for example in examples), "")
    yield from ("| takes | meaning | default |", "|---|---|---|")
    for parameter in command.params:
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
        name = ", ".join(f"`{name}`" for name in names)
        default = "required" if parameter.required else _default(parameter.default)
        yield f"| {name} | {_cell(getattr(parameter, 'help', '') or '')} | {default} |"


def _default(value: object) -> str:
    return "" if value is None or value is False or value == "" or callable(value) else f"`{value}`"


def config_page() -> str:
    """Return every key of the config, a table for each of its tables at the top."""
    from mmpipe.steps.tell.config_keys import all_keys

    lines = ["# Config", "", "Every key of `mmpipe.toml`, as `mmpipe config` prints them. NAME is a name of your own."]
    lines += ["The environment outdoes the file: `MMPIPE_ENGINE__WORKERS=4`, two underscores for each dot.", ""]
    place = None
    for key in all_keys():
        table = key.key.split(".")[0] if "." in key.key else ""
        if table != place:
            lines += [
                "",
                f"## {table or 'top'}",
                "",
                "| key | type | default | limits | meaning |",
                "|---|---|---|---|---|",
            ]
            place = table
        default = "(required)" if key.required else f"`{key.default}`" if key.default else ""
        cells = (f"`{key.key}`", key.type, default, key.limits, key.description)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def fusions_page() -> str:
    """Return every fusion with its formula, sources and options."""
    from mmpipe.fusion.facts import list_fusions

    lines = ["# Fusions", "", "As `mmpipe fusions` tells them. A name goes into `fusions` of a `[models.NAME]` table."]
    for facts in list_fusions():
        lines += [
            "",
            f"## {facts.name}",
            "",
            f"{_cell(facts.about)} {_cell(facts.use)}",
            "",
            f"    {facts.formula}",
            "",
        ]
        lines += [_cell(text) for text in facts.details]
        lines += [f"Source: {_cell('; '.join(facts.sources))}" if facts.sources else ""]
        lines += _options(facts.options)
    return "\n".join(lines) + "\n"


def goals_page() -> str:
    """Return every goal with its measure and options."""
    from mmpipe.steps.train.goal_facts import list_goals

    lines = ["# Goals", "", "As `mmpipe goals` tells them: what a model answers, and by what it is judged."]
    for facts in list_goals():
        lines += ["", f"## {facts.name}", "", _cell(facts.about), ""]
        lines += [f"{_cell(text)}\n" for text in facts.details]
        lines += [f"Measured by {_cell(facts.measure)}, beside {_cell(facts.compared_with)}."]
        lines += _options(facts.options)
    return "\n".join(lines) + "\n"


def python_page() -> str:
    """Return what mmpipe/__init__.py lists, for mkdocstrings to tell of; a section for each room that it comes from."""
    import mmpipe

    names = {name: home for name, home in mmpipe._HOMES.items() if name in mmpipe.__all__}
    lines = ["# Python", "", "`import mmpipe` loads nothing before it is used. What other teams may rely on:"]
    for title, rooms in _SECTIONS.items():
        homes = sorted(f"{home}.{name}" for name, home in names.items() if home.split(".")[1] in rooms)
        lines += ["", f"## {title}", *(f"\n::: {home}" for home in homes)]
    return "\n".join(lines) + "\n"


def _options(keys: Sequence[ConfigKey]) -> Iterator[str]:
    if keys:
        yield from ("", "| option | type | default | limits | meaning |", "|---|---|---|---|---|")
    for key in keys:
        cells = (f"`{key.key}`", key.type, f"`{key.default}`", key.limits, key.description)
        yield f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Return text that stays within a cell of a table, and is no HTML."""
    plain = text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
    return re.sub(r"\s*\n\s*", " ", plain).strip()
