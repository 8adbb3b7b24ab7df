"""Bring pools, queues, automations and deployments to a server: each once, and what is so already stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from deployments.api import Api
from deployments.asked_runs import ask_runs
from deployments.expand import NIGHTLY, Deployed, expand, read_deployed, retired
from deployments.queues import apply_queues
from deployments.services import ROOT
from mmpipe.config import NightConfig
from mmpipe.errors import MmpipeError

FILE = ROOT / "deployments" / "prefect.yaml"
_PAGE = 200
_TOLD = 4000


def deploy(
    api: Api,
    pools: Iterable[str],
    nights: Mapping[str, NightConfig],
    environment: Mapping[str, str],
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Bring everything that the server must know of us, in the order in which one needs the other."""
    for pool in pools:
        _ensure_pool(api, pool, environment)
        for change in apply_queues(api, pool, nights):
            verb = {"POST": "made", "PATCH": "changed", "DELETE": "removed"}[change.verb]
            say(f"{verb} the queue {change.queue.name} of the pool {pool}")
    for line in run_python(["-m", "deployments.automations"], environment).splitlines():
        say(line)
    if num_asked := ask_runs(api):
        say(f"runs that are not at an end: {num_asked}; what gives no sign of life has crashed")
    there = find_deployed(api)
    document = expand(yaml.safe_load(FILE.read_text("utf-8")), nights, there.switched_off)
    made = folder / "prefect.yaml"
    made.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    run_python(["-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(made)], environment)
    for name, number in retired(there, document).items():
        api.ask("DELETE", f"/deployments/{number}")
        say(f"removed the deployment {name}: the config has no night of that name now; its past runs stay")


def find_deployed(api: Api) -> Deployed:
    """Return what the server has of us."""
    rows: list[dict[str, Any]] = []
    while page := api.ask("POST", "/deployments/filter", {"limit": _PAGE, "offset": len(rows)}):
        rows.extend(page)
    flow = api.ask("GET", f"/flows/name/{NIGHTLY}")
    return read_deployed(rows, [flow["id"]] if flow else [])


def _ensure_pool(api: Api, pool: str, environment: Mapping[str, str]) -> None:
    """Make a pool where there is none; one that a person has changed stays as it is."""
    if api.ask("GET", f"/work_pools/{pool}") is None:
        run_python(["-m", "prefect", "--no-prompt", "work-pool", "create", pool, "--type", "process"], environment)


def run_python(arguments: list[str], environment: Mapping[str, str]) -> str:
    """Run a command of this interpreter and return what it prints; an error shows its end."""
    done = subprocess.run([sys.executable, *arguments], env=dict(environment), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        shown = " ".join(arguments[1:])
        raise MmpipeError(f"`{shown}` ended with {done.returncode}:\n{done.stdout[-_TOLD:]}{done.stderr[-_TOLD:]}")
    return done.stdout
