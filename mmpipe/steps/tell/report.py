"""Write the page of a night: what went in, what fell out and why, what the features hold, what the model is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import polars as pl

from mmpipe.config import Config
from mmpipe.evaluate.verdict import Status, Verdict
from mmpipe.io import make_directory, replace_bytes
from mmpipe.registry.versions import pick_version
from mmpipe.report.examined import Examined
from mmpipe.report.page import render_report
from mmpipe.report.values import Fact, FeatureCounts, Headline, Mood, ReportInput, Step
from mmpipe.steps.ground.watching import folder_table, watch_stage
from mmpipe.steps.plan.clip_filters import FILTER_STAGE
from mmpipe.steps.release.describe import describe_results
from mmpipe.steps.release.describe_examined import describe_examined
from mmpipe.steps.release.evaluate import Evaluation, evaluate_checkpoint
from mmpipe.steps.release.examine import examine, read_examination
from mmpipe.steps.release.release import ReleaseReport, release_of
from mmpipe.steps.shown.choices import MapMethod
from mmpipe.steps.shown.counts import count_features, show_funnel, show_lineage
from mmpipe.steps.shown.coverage import show_coverage
from mmpipe.steps.shown.maps import show_values
from mmpipe.steps.shown.pictures import show_clips
from mmpipe.steps.shown.refused import show_refused
from mmpipe.steps.shown.signals import dates_until, show_drift, show_signals, signals_of
from mmpipe.steps.speed.speed_notes import newest_speed
from mmpipe.steps.speed.speed_shown import show_speed
from mmpipe.steps.tell.thumbnails import render_thumbnails
from mmpipe.steps.workers.shower import Showing
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.layout import CLIPS, StoreLayout, check_partition, open_store
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine
from mmpipe.watch.stage import Stage


def write_report(
    config: Config, corpus: str, dt: str, model: str = "", checkpoint: str = "", method: MapMethod = MapMethod.PCA
) -> Path:
    """Write the page of a corpus as of a date; with a model and checkpoint, of its evaluation too."""
    with watch_stage(config, Stage.REPORT, corpus=corpus, model=model, dates=(dt,)) as stage:
        path = _write_report(config, corpus, dt, model, checkpoint, method)
        stage.made(lambda: [folder_table(path)])
    return path


def _write_report(config: Config, corpus: str, dt: str, model: str, checkpoint: str, method: MapMethod) -> Path:
    layout = open_store(config.store)
    evaluation = evaluate_checkpoint(config, model, checkpoint) if model and checkpoint else None
    released = release_of(config, model, checkpoint) if evaluation else None
    found = _examined(config, layout, evaluation, released) if evaluation else None
    gathered = _gather(config, layout, corpus, dt, evaluation, released, method)
    page = render_report(replace(gathered, examined=found))
    path = report_path(layout, corpus, dt, model)
    make_directory(path.parent)
    replace_bytes(path, page.encode())
    return path


def _examined(config: Config, layout: StoreLayout, evaluation: Evaluation, released: ReleaseReport | None) -> Examined:
    """Return what the judged model was examined for: as it was published, or now."""
    kept = read_examination(pick_version(layout.models, released.model, released.version)) if released else None
    return describe_examined(kept or examine(config, evaluation))


def report_path(layout: StoreLayout, corpus: str, dt: str, model: str = "") -> Path:
    """Return where the page of a date lies."""
    name = f"{corpus}-{check_partition(dt)}" + (f"-{model}" if model else "")
    return layout.reports / f"{name}.html"


def _gather(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    dt: str,
    evaluation: Evaluation | None,
    released: ReleaseReport | None,
    method: MapMethod,
) -> ReportInput:
    live = read_spine(layout, corpus).filter(~pl.col("superseded"))
    drops = read_quarantine(layout, corpus)
    features = tuple(count_features(layout, corpus))
    partitions = layout.dataset(corpus, CLIPS).partitions()
    dates = f"{len(partitions)} partition(s), {partitions[0]} to {partitions[-1]}" if partitions else "no clips yet"
    written = sum(feature.written for feature in features)
    filtered = drops.filter(pl.col("stage") == FILTER_STAGE)["clip_key"].n_unique()
    with shared_engine(config):
        page = _seen(config, layout, corpus, dt, live, drops, features, method)
    return replace(
        page,
        title=f"{corpus}: {evaluation.model}" if evaluation and evaluation.model != corpus else corpus,
        subtitle=f"the night of {dt}; {dates}",
        headline=_headline(evaluation.verdict, released)
        if evaluation
        else Headline(word="extracted", sentence=f"{live.height} clips, {written} feature values."),
        facts=(
            Fact(label="clips", value=f"{live.height:,}"),
            Fact(label="assets", value=f"{live['asset_id'].n_unique():,}"),
            Fact(label="feature values", value=f"{written:,}"),
            Fact(label="hours", value=f"{_hours(live):.2f}"),
            *((Fact(label="in production", value=released.production or "nothing"),) if released else ()),
        ),
        next_steps=tuple(_next_steps(corpus, evaluation, released, drops)),
        funnel=show_funnel(layout, corpus, live, filtered, features),
        features=features,
        speed=show_speed(found) if (found := newest_speed(layout, corpus)) else None,
        model=describe_results(evaluation) if evaluation else None,
        lineage=tuple(show_lineage(layout, evaluation.data.snapshot)) if evaluation else (),
        links=tuple(_links(layout, corpus)),
    )


def _links(layout: StoreLayout, corpus: str) -> Iterator[Step]:
    """Yield the cards of this corpus that somebody asked for."""
    for kind in ("dataset", "release"):
        for path in sorted(layout.reports.glob(f"{corpus}-{kind}-*.html")):
            name = path.stem.removeprefix(f"{corpus}-{kind}-")
            yield Step(text=f"the card of the {kind} {name}", command=quote(path.name, safe="@"))


def _seen(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    dt: str,
    live: pl.DataFrame,
    drops: pl.DataFrame,
    features: Sequence[FeatureCounts],
    method: MapMethod,
) -> ReportInput:
    """Return the sections that one looks at."""
    names = tuple(feature.feature for feature in features)
    refused = show_refused(config, layout, corpus, live, drops)
    values = show_values(config, layout, corpus, live, names, method)
    clips = show_clips(config, layout, corpus, live.filter(pl.col("key").is_in(list(values.keys))), Showing.STILL)
    signals = signals_of(layout, corpus, live)
    dates = dates_until(live, dt)
    newest = dates[-1] if live["partition"].n_unique() > 1 and dates else ""
    drift = show_drift(layout, corpus, live, signals, names, dt)
    return ReportInput(
        title=corpus,
        quarantine=refused.reasons,
        twins=refused.twins,
        num_twins=refused.num_twins,
        same=refused.same,
        num_same=refused.num_same,
        histograms=show_signals(signals, newest),
        newest=newest,
        coverage=show_coverage(layout, corpus, live, drops, names),
        drift=drift,
        maps=values.maps,
        neighbours=values.neighbours,
        thumbnails=render_thumbnails(config, layout, corpus, live),
        pictures={**refused.pictures, **{key: clips[key].data for key in values.keys if key in clips}},
        without=tuple(_without(config, corpus, dt, dates, refused.num_twins)),
    )


def _without(config: Config, corpus: str, dt: str, dates: Sequence[str], num_twins: int) -> Iterator[str]:
    """Yield which sections there are not, and why."""
    _, source = config.corpus(corpus)
    if len(dates) < 2:
        there = "there is one date" if dates else "there is no date"
        yield f"Drift: {there} with clips until {dt}, and nothing to compare it with."
    if not source.signals.enabled:
        yield f"Quality, but for durations: corpora.{corpus}.signals.enabled is off."
    if not source.dedup.near:
        yield f"Near duplicates: corpora.{corpus}.dedup.near is off; exact ones are always left out."
    elif not num_twins:
        yield "Near duplicates: none were found."
    if not any(model.corpus == corpus for model in config.models.values()):
        yield "A model's worth: no model of the config learns from this corpus."


def _headline(verdict: Verdict, released: ReleaseReport | None) -> Headline:
    """Return the answer in one word and one sentence; a refusal is half of it where something else was published."""
    if verdict.status is Status.CANDIDATE:
        return Headline(word=str(verdict.status), sentence=verdict.sentence, mood=Mood.GOOD)
    if released is None or not released.offered_version:
        return Headline(word=str(verdict.status), sentence=verdict.sentence, mood=Mood.BAD)
    where = "in production" if released.production == released.offered_version else "published"
    version = f"{released.model}@{released.offered_version}"
    return Headline(
        word=f"single modality {where}",
        sentence=f"{released.offered} alone is {where} as {version}. {verdict.sentence}",
        mood=Mood.WEAK,
    )


def _next_steps(
    corpus: str, evaluation: Evaluation | None, released: ReleaseReport | None, drops: pl.DataFrame
) -> Iterator[Step]:
    if not drops["kept"].all():
        yield Step(text="See why files and clips were put aside", command=f"mmpipe quarantine ls --corpus {corpus}")
    yield Step(text="See what is due", command=f"mmpipe plan --corpus {corpus}")
    if evaluation and not released:
        yield Step(text="Publish what was trained", command=f"mmpipe publish --model {evaluation.model}")
    if released:
        yield Step(text="See the versions and where the aliases point", command=f"mmpipe models ls {released.model}")
    if released and released.production:
        yield Step(text="Ask the model about a file", command=f"mmpipe predict FILE --model {released.model}")


def _hours(live: pl.DataFrame) -> float:
    return float((live["end_ns"] - live["start_ns"]).sum()) / 3.6e12
