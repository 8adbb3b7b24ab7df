"""What a fusion says of itself: its formula, where it is from, when to use it, and what can be chosen."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass

from mmpipe.config.keys import NAME, ConfigKey, list_keys
from mmpipe.errors import ConfigError
from mmpipe.fusion.registry import fusion_class, fusion_names

_SOURCE = re.compile(r"[A-Z][\w-]+(?:(?:, [A-Z][\w-]+)+| and [A-Z][\w-]+| et al\.)? (?:19|20)\d\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionFacts:
    """A fusion as the docstrings of its file and class have it; a part that they lack is empty."""

    name: str
    about: str  # a sentence
    formula: str
    sources: tuple[str, ...]  # authors and year
    details: tuple[str, ...]  # paragraphs
    use: str  # when to use it
    options: tuple[ConfigKey, ...]


def list_fusions() -> tuple[FusionFacts, ...]:
    """Return the facts of every fusion, in the order of the names; of one that cannot be loaded, why."""
    return tuple(_facts_or_fault(name) for name in fusion_names())


def fusion_facts(name: str) -> FusionFacts:
    """Return the facts of a fusion; raise ConfigError that lists the names."""
    kind = fusion_class(name)
    about = (sys.modules[kind.__module__].__doc__ or "").partition("\n")[0]
    formula, *details = [" ".join(part.split()) for part in inspect.cleandoc(vars(kind)["__doc__"] or "").split("\n\n")]
    while details and not formula.endswith("."):  # a formula of several lines
        formula += " " + details.pop(0)
    use = [part for part in details if part.startswith("Use it ")]
    return FusionFacts(
        name=name,
        about=about,
        formula=formula,
        sources=tuple(dict.fromkeys(_SOURCE.findall(" ".join(details)))),
        details=tuple(part for part in details if part not in use),
        use=" ".join(use),
        options=tuple(list_keys(kind.Options, f"models.{NAME}.fusion_options.{name}")),
    )


def _facts_or_fault(name: str) -> FusionFacts:
    try:
        return fusion_facts(name)
    except ConfigError as error:
        return FusionFacts(name=name, about=str(error), formula=str(error), sources=(), details=(), use="", options=())
