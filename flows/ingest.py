"""Ingest as a flow of its own."""

from __future__ import annotations

from prefect import flow

from flows.naming import run_name
from flows.parameters import IngestParameters
from flows.target import resolve_target
from tasks.artifacts import run_page
from tasks.ingest import ingest_corpus
from tasks.workers import shared_workers

DEFAULTS = IngestParameters()


@flow(name="ingest", flow_run_name=run_name, persist_result=False)
def ingest(parameters: IngestParameters = DEFAULTS) -> None:
    """List, probe and cut what is new in a corpus."""
    target = resolve_target(parameters)
    with run_page("ingest", target.corpus) as page, shared_workers(target.config):
        page.add("ingest", ingest_corpus(target.config, target.corpus, target.dt))
