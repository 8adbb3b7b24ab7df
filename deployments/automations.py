"""Bring the automations of `deployments/automations` to the server: each once, a person's own left alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import Automation, AutomationCore
from pydantic import ValidationError

from deployments.notices import VARIABLE, ensure_target
from mmpipe.errors import ConfigError, MmpipeError

FOLDER = Path(__file__).resolve().parent / "automations"
MARK = "mmpipe-shipped"  # a tag of what is ours; a person's own have another, or none
NOTICES = "NOTICES"  # stands in a file for the block that notices go to
_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was done to the automations of a server."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    has_target: bool = False

    def lines(self) -> Iterator[str]:
        """Yield what a person should read of it."""
        for what in ("created", "updated", "removed"):
            yield from (f"automation {what}: {name}" for name in getattr(self, what))
        if not self.has_target:
            yield (
                f"nobody is told of failed runs and notices: set {VARIABLE} (https://..., mailtos://...) and run "
                "this again"
            )


def main() -> int:
    """Apply the automations to the server of PREFECT_API_URL and return the exit code."""
    try:
        with get_client(sync_client=True) as client:
            done = apply_automations(client)
    except MmpipeError as error:
        print(f"automations: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    for line in done.lines():
        print(line)  # noqa: T201
    return 0


def apply_automations(client: SyncPrefectClient, folder: Path = FOLDER) -> Applied:
    """Create what is missing, mend what differs, and remove what is ours and no longer in the folder."""
    block = ensure_target(client)
    wanted = read_automations(folder, block)
    present = {automation.name: automation for automation in _ours(client)}
    done: dict[str, list[str]] = {"created": [], "updated": [], "removed": [], "kept": []}
    for automation in wanted:
        there = present.pop(automation.name, None)
        done[_settle(client, automation, there)].append(automation.name)
    for automation in present.values():
        client.delete_automation(automation.id)
        done["removed"].append(automation.name)
    return Applied(**{what: tuple(names) for what, names in done.items()}, has_target=block is not None)


def read_automations(folder: Path, block: UUID | None) -> tuple[AutomationCore, ...]:
    """Return the automations of the folder; without a block those that would notify are left out."""
    tables = [(path, yaml.safe_load(path.read_text("utf-8"))) for path in sorted(folder.glob("*.yaml"))]
    return tuple(
        _automation(path, table, block) for path, table in tables if block or not _needs_block(table["actions"])
    )


def differs(wanted: AutomationCore, there: AutomationCore) -> bool:
    """Say whether an automation is not what its file says; whether it is switched on is a person's choice."""
    return _comparable(wanted) != _comparable(there)


def _settle(client: SyncPrefectClient, wanted: AutomationCore, there: Automation | None) -> str:
    if there is None:
        client.create_automation(wanted)
        return "created"
    if not differs(wanted, there):
        return "kept"
    # A model without unset fields: the server takes the whole automation, and would fill gaps with defaults.
    client.update_automation(
        there.id, AutomationCore(**wanted.model_dump(exclude={"owner_resource"}) | {"enabled": there.enabled})
    )
    return "updated"


def _ours(client: SyncPrefectClient) -> Iterator[Automation]:
    """Yield the automations with our mark; the server gives them in pages."""
    offset = 0
    while page := client.read_automations(limit=_PAGE, offset=offset):
        yield from (automation for automation in page if MARK in automation.tags)
        offset += len(page)


def _needs_block(actions: Sequence[Mapping[str, Any]]) -> bool:
    return any(action.get("block_document_id") == NOTICES for action in actions)


def _automation(path: Path, table: Mapping[str, Any], block: UUID | None) -> AutomationCore:
    actions = [
        {**action, "block_document_id": str(block)} if _needs_block([action]) else action for action in table["actions"]
    ]
    try:
        return AutomationCore.model_validate({**table, "actions": actions, "tags": [MARK]})
    except ValidationError as error:
        raise ConfigError(f"{path} is not an automation that this Prefect knows: {error}") from error


def _comparable(automation: AutomationCore) -> Any:
    """Return what makes an automation what it is, in an order of its own: sets have none."""
    plain = automation.model_dump(mode="json", exclude={"id", "enabled", "owner_resource"})
    return _sorted_sets(plain)


def _sorted_sets(value: Any) -> Any:
    if isinstance(value, dict):
        # PostgreSQL keeps no order of keys, and lists below are sorted by how they are written.
        return {key: _sorted_sets(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return sorted((_sorted_sets(inner) for inner in value), key=repr)
    return value


if __name__ == "__main__":
    sys.exit(main())
