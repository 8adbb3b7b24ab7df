"""Put a model's version in production or back, and say so in the store's audit log."""

from __future__ import annotations

from collections.abc import Callable

from mmpipe.registry.aliases import Aliases, nominate, promote, read_aliases, rollback
from mmpipe.store.audit import append_event, this_person
from mmpipe.store.layout import StoreLayout, require_current


def nominate_version(layout: StoreLayout, name: str, ref: str, *, why: str, who: str = "") -> Aliases:
    """Point `candidate` at a version."""
    return _noted(layout, name, lambda: nominate(layout.models, name, ref, why=why, who=who or this_person()))


def promote_version(
    layout: StoreLayout, name: str, ref: str, *, why: str, who: str = "", force: bool = False
) -> Aliases:
    """Put a version in production; a refused one needs `force`."""
    who = who or this_person()
    return _noted(layout, name, lambda: promote(layout.models, name, ref, why=why, who=who, force=force))


def roll_back(layout: StoreLayout, name: str, *, why: str) -> Aliases:
    """Put the previous version back in production."""
    return _noted(layout, name, lambda: rollback(layout.models, name, why=why, who=this_person()))


def _noted(layout: StoreLayout, name: str, move: Callable[[], Aliases]) -> Aliases:
    """Make a move and note it, if it was one; should this die in between, the model's own events.jsonl has it."""
    require_current(layout)
    before = read_aliases(layout.models, name).revision
    aliases = move()
    made = aliases.last_move
    if made is not None and aliases.revision != before:
        facts = {"revision": made.revision, "before": dict(made.before), "after": dict(made.after), "by": made.who}
        if made.forced:
            facts["forced"] = True
        append_event(layout, made.action, f"{name}@{made.version}", made.why, facts, result=made.version)
    return aliases
