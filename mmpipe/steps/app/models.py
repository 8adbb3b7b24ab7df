"""Published models as the app shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mmpipe.app.site import NotHereError
from mmpipe.app.values.models import AliasMove, Check, Model, ModelList, ModelVersion, VersionCard
from mmpipe.errors import ConfigError, MmpipeError, StoreError
from mmpipe.registry.aliases import find_version, read_aliases, read_events
from mmpipe.registry.taint import read_taint
from mmpipe.registry.versions import Version, list_models, list_versions_loosely
from mmpipe.store.layout import StoreLayout

_MEASURE_NAME = re.compile(r"[A-Za-z0-9_@ .-]{1,60}")


def read_models(layout: StoreLayout) -> ModelList:
    """Return every model with its versions and moves."""
    return ModelList(models=tuple(read_model(layout, name) for name in list_models(layout.models)))


def read_model(layout: StoreLayout, name: str) -> Model:
    """Return a model, newest versions and moves first; what of it is damaged says so, and hides nothing else."""
    aliases, moves, faults = _moved(layout, name)
    versions = [
        _guarded(layout, name, path.name, open_version, aliases)
        for path, open_version in list_versions_loosely(layout.models, name)
    ]
    return Model(
        name=name,
        aliases=aliases,
        versions=tuple(reversed(versions)),
        moves=moves,
        faults=faults,
    )


def read_version(layout: StoreLayout, name: str, label: str) -> ModelVersion:
    """Return one version, by number, label or alias; NotHereError: there is none."""
    if name not in list_models(layout.models):
        known = ", ".join(list_models(layout.models)) or "none"
        raise NotHereError(f"no model is called {name!r}; there are: {known}.")
    try:
        version = find_version(layout.models, name, label, verify=False)
    except ConfigError as error:
        raise NotHereError(str(error)) from error
    verdict, lineage = _table(version, "verdict.json"), _table(version, "lineage.json")
    measured = _table(version, "metrics.json").get("measured", {})
    judged = str(verdict.get("judged", ""))
    named = {str(key): lineage[key] for key in ("corpus", "checkpoint", "recipe") if key in lineage}
    code = lineage.get("code", {})
    return ModelVersion(
        model=name,
        card=_card(layout, version, read_aliases(layout.models, name).names),
        digest=version.digest,
        checks=tuple(Check(**check) for check in verdict.get("checks", ())),
        measures=_numbers(measured.get(judged, {})),
        lineage={key: str(value) for key, value in named.items()}
        | {"code": ", ".join(f"{package} {number}" for package, number in code.items())},
        manifests=tuple(
            (str(entry["dataset"]), str(entry["partition"]), str(entry["sha256"]))
            for entry in lineage.get("manifests", ())
        ),
        snapshot=str(lineage.get("snapshot", "")),
        num_raw_files=len(lineage.get("raw_files", ())),
        files=version.files(),
        redacted="Something was forgotten out of this version since: it has new sums." if version.redaction else "",
    )


def _moved(layout: StoreLayout, name: str) -> tuple[dict[str, str], tuple[AliasMove, ...], tuple[str, ...]]:
    """Return where the aliases of a model point, their moves, and why one of both cannot be read."""
    aliases: dict[str, str] = {}
    moves: tuple[AliasMove, ...] = ()
    faults = []
    try:
        aliases = read_aliases(layout.models, name).names
    except StoreError as error:
        faults.append(str(error))
    try:
        moves = tuple(_move(event) for event in reversed(read_events(layout.models, name)))
    except (StoreError, ValueError, KeyError, TypeError) as error:
        path = layout.models / name / "events.jsonl"
        faults.append(f"{path} is damaged: {error}. It is the log of moves: put it back from a copy of the store.")
    return aliases, moves, tuple(faults)


def _guarded(
    layout: StoreLayout, name: str, label: str, open_version: Callable[[], Version], aliases: Mapping[str, str]
) -> VersionCard:
    try:
        return _card(layout, open_version(), aliases)
    except (MmpipeError, ValueError, KeyError, TypeError) as error:
        return VersionCard(label=label, status="damaged", aliases=(), fault=str(error))


def _card(layout: StoreLayout, version: Version, aliases: Mapping[str, str]) -> VersionCard:
    verdict = _table(version, "verdict.json")
    taint = read_taint(layout.models, version.name, version.label)
    judged = str(verdict.get("judged", ""))
    worth = next((each.get("worth") for each in verdict.get("standings", ()) if each.get("name") == judged), None) or {}
    return VersionCard(
        label=version.label,
        status=version.status,
        aliases=tuple(alias for alias, label in aliases.items() if label == version.label),
        measure=str(verdict.get("measure", "")),
        worth=worth.get("estimate"),
        low=worth.get("low"),
        high=worth.get("high"),
        judged=judged,
        sentence=str(verdict.get("sentence", "")),
        tainted=str(taint or ""),
    )


def _table(version: Version, file: str) -> dict[str, Any]:
    """Return a JSON file of a version; nothing where it was published without."""
    if file not in version.files():
        return {}
    table: dict[str, Any] = json.loads(version.read(file))
    return table


def _numbers(table: Mapping[str, Any]) -> dict[str, float]:
    """Return the measures that are one number."""
    return {
        name: float(value)
        for name, value in table.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and _MEASURE_NAME.fullmatch(name)
    }


def _move(event: Mapping[str, Any]) -> AliasMove:
    return AliasMove(
        revision=event["revision"],
        when=event["when"],
        action=event["action"],
        version=event["version"],
        who=event["who"],
        why=event["why"],
        forced=bool(event.get("forced")),
    )
