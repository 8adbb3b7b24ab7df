"""The nightly flow: from raw files to a release."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.extract import BATCH_RUNNER, make_features
from flows.ingest import take_in
from flows.naming import run_name
from flows.parameters import NightlyParameters
from flows.release import end_of_releases
from flows.target import Target, resolve_target
from tasks.artifacts import RunPage, run_page
from tasks.plan import Only
from tasks.release import ReleaseReport, release_model
from tasks.report import write_report
from tasks.train import train_model
from tasks.workers import shared_workers

DEFAULTS = NightlyParameters()


@flow(
    name="nightly",
    flow_run_name=run_name,
    task_runner=BATCH_RUNNER,
    persist_result=False,
)
def nightly(parameters: NightlyParameters = DEFAULTS) -> State[Any]:
    """Ingest a date, make the features that are due, train, and release what earns it."""
    target = resolve_target(parameters)
    with run_page("nightly", target.corpus) as page:
        with shared_workers(target.config):
            too_many = take_in(target, page)
            # Every date: a file that changed belongs to the date that saw it first. And what is good gets its
            # features also where too much is in quarantine.
            make_features(target.config, target.corpus, None, page, Only.DUE, parameters.batch_clips)
        if too_many:
            raise too_many  # no model learns from half a corpus
        models = models_of(target, parameters.model)
        releases = [improve(target, model, page) for model in models]
        if not models:
            page.note("report", f"`{write_report(target.config, target.corpus, target.dt)}`")
    return end_of_releases(releases)


def improve(target: Target, model: str, page: RunPage) -> ReleaseReport:
    """Train a model, let the gate judge it, and write the night's report."""
    trained = train_model(target.config, model)
    page.add(f"train {model}", trained)
    released = release_model(target.config, model, trained.checkpoint)
    page.add(f"release {model}", released)
    path = write_report(target.config, target.corpus, target.dt, model, trained.checkpoint)
    page.note(f"report {model}", f"`{path}`")
    return released


def models_of(target: Target, model: str) -> tuple[str, ...]:
    """Return the model that was asked for, or every model of the corpus."""
    if model:
        return (target.config.model(model)[0],)
    return tuple(name for name, entry in sorted(target.config.models.items()) if entry.corpus == target.corpus)
