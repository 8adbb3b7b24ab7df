"""List what nothing in the store rests on any more, or remove it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.life import refuse_endless_starts
from flows.naming import run_name
from flows.parameters import GcParameters
from flows.target import read_config
from tasks.artifacts import run_page
from tasks.keep import tidy_store

DEFAULTS = GcParameters()


@flow(name="gc", flow_run_name=run_name, persist_result=False)
def gc(parameters: GcParameters = DEFAULTS) -> State[Any]:
    """Collect garbage; manifests stay, and without `delete` everything does."""
    refuse_endless_starts()
    with run_page("gc") as page:
        tidied = tidy_store(read_config(parameters), parameters.days, parameters.delete)
        page.add("gc", tidied)
    return Completed(message=tidied.summary())
