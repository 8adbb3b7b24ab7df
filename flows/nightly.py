"""The nightly flow: from raw files to a release."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.extract import BATCH_RUNNER, make_features
from flows.fan_out import run_children
from flows.ingest import take_in
from flows.life import end_children, open_runs, refuse_endless_starts
from flows.naming import run_name
from flows.parameters import ExtractParameters, NightlyParameters, TrainParameters
from flows.release import end_of_releases
from flows.runs import Child, Run, Runs
from flows.target import Target, resolve_target
from mmpipe.errors import PartialError, ShardError
from tasks.artifacts import RunPage, run_page
from tasks.plan import Choice
from tasks.release import ReleaseReport, release_model
from tasks.report import write_report
from tasks.train import models_of, train_model
from tasks.workers import shared_workers

DEFAULTS = NightlyParameters()


@flow(
    name="nightly",
    flow_run_name=run_name,
    task_runner=BATCH_RUNNER,
    persist_result=False,
    on_cancellation=[end_children],
)
def nightly(parameters: NightlyParameters = DEFAULTS) -> State[Any]:
    """Ingest a date, make the features that are due, train, and release what earns it.

    Where a deployment started it, extraction and training are runs of their own, in the pool that is made for them.
    """
    refuse_endless_starts()
    target, runs = resolve_target(parameters), open_runs()
    with run_page("nightly", target.corpus) as page:
        too_many = fill_by_run(target, parameters, page, runs) if runs else fill_here(target, parameters, page)
        if too_many:
            raise too_many  # no model learns from half a corpus
        models = models_asked(target, parameters.model)
        trained = train_by_runs(target, parameters, models, runs) if runs else {}
        releases = [improve(target, model, page, trained.get(model)) for model in models]
        if not models:
            page.note("report", f"`{write_report(target.config, target.corpus, target.dt)}`")
    return end_of_releases(releases)


def fill_here(target: Target, parameters: NightlyParameters, page: RunPage) -> PartialError | None:
    """Ingest and make the features in this process; return the error where too much is in quarantine."""
    with shared_workers(target.config):
        too_many = take_in(target, page)
        # Every date: a file that changed belongs to the date that saw it first. And what is good gets its
        # features also where too much is in quarantine.
        make_features(target.config, target.corpus, None, page, Choice(), parameters.batch_clips)
    return too_many


def fill_by_run(target: Target, parameters: NightlyParameters, page: RunPage, runs: Runs) -> PartialError | None:
    """Ingest in this process, and have a run of its own make the features."""
    with shared_workers(target.config):
        too_many = take_in(target, page)
    told = ExtractParameters(
        config=parameters.config,
        corpus=target.corpus,
        date=date.fromisoformat(target.dt),
        all_dates=True,
        batch_clips=parameters.batch_clips,
    )
    child = Child(subject="extract", deployment="extract/extract", corpus=target.corpus, parameters=told)
    require_complete(run_children([child], runs)[child.subject])
    return too_many


def train_by_runs(target: Target, parameters: NightlyParameters, models: Sequence[str], runs: Runs) -> dict[str, Run]:
    """Have a run of its own train each model; return how they ended."""
    children = [
        Child(
            subject=f"train-{model}",
            deployment="train/train",
            corpus=target.corpus,
            parameters=TrainParameters(config=parameters.config, model=model),
        )
        for model in models
    ]
    ended = run_children(children, runs, max_in_flight=max(1, len(children)))
    return {model: ended[child.subject] for model, child in zip(models, children, strict=True)}


def require_complete(run: Run) -> None:
    """Raise ShardError where a child did not end well."""
    if not run.is_complete:
        why = f": {run.message}" if run.message else ""
        raise ShardError(
            f"the run {run.subject!r} ended as {run.state}{why}. It is among the subflow runs of this one: "
            "read its log, cure the cause and retry this run; what is done is not done again."
        )


def checkpoint_of(training: Run) -> str:
    """Return the checkpoint that a training has left; ShardError where it did not end well, or left none."""
    require_complete(training)
    if not training.checkpoint:
        raise ShardError(
            f"the run {training.subject!r} ended well and left no checkpoint: somebody may have set its state by hand. "
            "Retry this run, and the model is trained, or found trained, anew."
        )
    return training.checkpoint


def improve(target: Target, model: str, page: RunPage, trained: Run | None) -> ReleaseReport:
    """Train a model where no run of its own did, let the gate judge it, and write the night's report."""
    if trained:
        checkpoint = checkpoint_of(trained)
    else:
        report = train_model(target.config, model)
        page.add(f"train {model}", report)
        checkpoint = report.checkpoint
    released = release_model(target.config, model, checkpoint)
    page.add(f"release {model}", released)
    path = write_report(target.config, target.corpus, target.dt, model, checkpoint)
    page.note(f"report {model}", f"`{path}`")
    return released


def models_asked(target: Target, model: str) -> tuple[str, ...]:
    """Return the model that was asked for, or every model of the corpus."""
    return (target.config.model(model)[0],) if model else models_of(target.config, target.corpus)
