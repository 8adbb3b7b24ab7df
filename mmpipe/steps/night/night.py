"""A whole night without an orchestrator, and the question whether there is anything to do in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmpipe.config import Config
from mmpipe.errors import PartialError
from mmpipe.registry.aliases import WITHHELD
from mmpipe.steps.extract.beside_others import extract_beside_others
from mmpipe.steps.extract.commit import CommitReport
from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.watching import watch_stage
from mmpipe.steps.ingest.ingest import ingest_corpus, ingest_reason
from mmpipe.steps.ingest.ingest_report import IngestReport
from mmpipe.steps.plan.external_pins import registered_names
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.model_names import check_model_names
from mmpipe.steps.plan.patience import NO_PATIENCE, Patience, do_when_free
from mmpipe.steps.plan.plan import Plan, plan_corpus
from mmpipe.steps.release.release import ReleaseReport, last_release, release_model, release_reason
from mmpipe.steps.tell.report import write_report
from mmpipe.steps.train.train import TrainReport, train_model
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.layout import StoreLayout
from mmpipe.watch.stage import Stage
from mmpipe.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNight:
    """What a night made of one model."""

    trained: TrainReport
    released: ReleaseReport
    report: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NightReport:
    """What a night did."""

    ingested: IngestReport
    extracted: ExtractReport
    committed: CommitReport
    models: tuple[ModelNight, ...]


def what_is_due(config: Config, corpus: str, dt: str) -> tuple[str, ...]:
    """Say what a night would do and why; empty: nothing. Opens no media and writes nothing."""
    resolve_features(config, corpus)  # before any work: a wrong parameter must not wait for its turn
    check_model_names(config, corpus)
    if reason := ingest_reason(config, corpus, dt):
        return (f"ingest: {reason}",)
    plan = plan_corpus(config, corpus)
    if not plan.is_empty:
        reasons = sorted({reason for due in plan.shards for reason in due.reasons})
        return (f"extract: {counted(len(plan.shards), 'shard')} ({'; '.join(reasons)})",)
    if held := plan.running_places:
        who = "; ".join(sorted(set(held.values())))
        return (f"extract: {counted(len(held), 'shard', 'are', 'is')} being made ({who})",)
    return tuple(f"train {name}: {reason}" for name, reason in models_due(config, corpus, plan))


def models_due(config: Config, corpus: str, plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the models that a night would train and release once it has made what is planned, with the reason."""
    made = {name.rpartition("@")[0] for due in plan.shards for name in due.features}
    made |= {state.feature.rpartition("@")[0] for state in plan.running}
    for name in models_of(config, corpus):
        model = config.models[name]
        waits = sorted(made.intersection(model.inputs)) if not model.snapshot else []
        reason = f"after its inputs, which are due: {', '.join(waits)}" if waits else release_reason(config, name)
        if reason:
            yield name, reason


def what_waits(config: Config, corpus: str) -> tuple[str, ...]:
    """Say what no night will change where nothing is due: what a person must decide, and what the gate refused."""
    held: tuple[str, ...] = ()
    if registered_names(StoreLayout(config.store), corpus):
        held = plan_corpus(config, corpus).held_reasons
    releases = (last_release(config, name) for name in models_of(config, corpus))
    refused = (made for made in releases if made and made.status in WITHHELD)
    return held + tuple(f"the gate refused {made.model}@{made.version} before: {made.sentence}" for made in refused)


def run_night(
    config: Config, corpus: str, dt: str, progress: Progress = SILENT, patience: Patience = NO_PATIENCE
) -> NightReport:
    """Ingest, extract, train, release and report, in this order; what is done already is not done again.

    PartialError: too much is in quarantine. The features of what is good are made, but no model learns from it.
    HeldError: others hold what it needs, for longer than the patience lasts, which is for all of its steps.
    """
    check_model_names(config, corpus)
    with watch_stage(config, Stage.NIGHT, corpus=corpus, dates=(dt,)):
        return _run_night(config, corpus, dt, progress, patience.of_run())


def _run_night(config: Config, corpus: str, dt: str, progress: Progress, patience: Patience) -> NightReport:
    plan = partial(plan_corpus, config, corpus)
    with shared_engine(config):
        try:
            ingested = do_when_free(lambda: ingest_corpus(config, corpus, dt, progress), patience)
        except PartialError:
            extract_beside_others(config, plan(), plan, patience, progress)
            raise
        extracted, committed = extract_beside_others(config, plan(), plan, patience, progress)
    models = []
    for name in models_of(config, corpus):
        trained = do_when_free(partial(train_model, config, name, progress), patience)
        released = release_model(config, name, trained.checkpoint)
        page = write_report(config, corpus, dt, name, trained.checkpoint)
        models.append(ModelNight(trained=trained, released=released, report=page))
    if not models:
        write_report(config, corpus, dt)
    return NightReport(ingested=ingested, extracted=extracted, committed=committed, models=tuple(models))


def models_of(config: Config, corpus: str) -> tuple[str, ...]:
    """Return the models that learn from a corpus."""
    return tuple(sorted(name for name, model in config.models.items() if model.corpus == corpus))
