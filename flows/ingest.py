"""Ingest as a flow of its own, and the part of it that other flows share."""

from __future__ import annotations

from typing import cast

from prefect import flow

from flows.life import refuse_endless_starts
from flows.naming import run_name
from flows.parameters import IngestParameters
from flows.target import Target, resolve_target
from mmpipe.errors import PartialError
from tasks.artifacts import Report, RunPage, run_page
from tasks.ingest import ingest_corpus
from tasks.workers import shared_workers

DEFAULTS = IngestParameters()


@flow(name="ingest", flow_run_name=run_name, persist_result=False)
def ingest(parameters: IngestParameters = DEFAULTS) -> None:
    """List, probe and cut what is new in a corpus."""
    refuse_endless_starts()
    target = resolve_target(parameters)
    with run_page("ingest", target.corpus) as page, shared_workers(target.config):
        if too_many := take_in(target, page):
            raise too_many


def take_in(target: Target, page: RunPage) -> PartialError | None:
    """Ingest, and return the error where too much is in quarantine: what is good is committed all the same.

    A corpus takes in one date at a time: where somebody else does so, the task waits for its turn.
    """
    outcome = ingest_corpus(target.config, target.corpus, target.dt, return_state=True).result(raise_on_failure=False)
    if isinstance(outcome, PartialError):
        page.add("ingest", cast(Report, outcome.report))
        return outcome
    if isinstance(outcome, BaseException):
        raise outcome
    page.add("ingest", outcome)
    return None
