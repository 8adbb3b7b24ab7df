"""Write the page of a night: what went in, what fell out and why, what the features hold, what the model is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from mmpipe.config import Config
from mmpipe.evaluate.verdict import Status, Verdict
from mmpipe.io import make_directory, replace_bytes
from mmpipe.registry.versions import pick_version
from mmpipe.report.examined import Examined
from mmpipe.report.page import render_report
from mmpipe.report.values import (
    Fact,
    FeatureCounts,
    Funnel,
    Headline,
    Mood,
    QuarantineReason,
    ReportInput,
    Source,
    Step,
    Tally,
)
from mmpipe.steps.release.describe import describe_results
from mmpipe.steps.release.describe_examined import describe_examined
from mmpipe.steps.release.evaluate import Evaluation, evaluate_checkpoint
from mmpipe.steps.release.examine import examine, read_examination
from mmpipe.steps.release.release import ReleaseReport, release_of
from mmpipe.steps.speed.speed_notes import newest_speed
from mmpipe.steps.speed.speed_shown import show_speed
from mmpipe.steps.tell.thumbnails import render_thumbnails
from mmpipe.steps.tell.watching import folder_table, watch_stage
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, StoreLayout, check_partition, open_store
from mmpipe.store.manifest import Manifest
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.schema import read_schema
from mmpipe.store.snapshot import Snapshot
from mmpipe.store.spine import read_spine
from mmpipe.watch.stage import Stage

# As the store's totals call them, and as people are told: clips that a filter leaves out are something else.
_FATES = {name: name for name in ("used", "quarantined", "duplicates", "tombstoned")} | {"filtered": "left out"}


def write_report(config: Config, corpus: str, dt: str, model: str = "", checkpoint: str = "") -> Path:
    """Write the page of a corpus as of a date; with a model and checkpoint, of its evaluation too."""
    with watch_stage(config, Stage.REPORT, corpus=corpus, model=model, dates=(dt,)) as stage:
        path = _write_report(config, corpus, dt, model, checkpoint)
        stage.made(lambda: [folder_table(path)])
    return path


def _write_report(config: Config, corpus: str, dt: str, model: str, checkpoint: str) -> Path:
    layout = open_store(config.store)
    evaluation = evaluate_checkpoint(config, model, checkpoint) if model and checkpoint else None
    released = release_of(config, model, checkpoint) if evaluation else None
    found = _examined(config, layout, evaluation, released) if evaluation else None
    page = render_report(replace(_gather(config, layout, corpus, dt, evaluation, released), examined=found))
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
) -> ReportInput:
    spine = read_spine(layout, corpus)
    live = spine.filter(~pl.col("superseded"))
    features = tuple(_features(layout, corpus))
    written = sum(feature.written for feature in features)
    partitions = layout.dataset(corpus, CLIPS).partitions()
    dates = f"{len(partitions)} partition(s), {partitions[0]} to {partitions[-1]}" if partitions else "no clips yet"
    quarantine = tuple(_quarantine(layout, corpus))
    return ReportInput(
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
        next_steps=tuple(_next_steps(corpus, evaluation, released, bool(quarantine))),
        funnel=_funnel(layout, corpus, live, written),
        quarantine=quarantine,
        features=features,
        speed=show_speed(found) if (found := newest_speed(layout, corpus)) else None,
        model=describe_results(evaluation) if evaluation else None,
        thumbnails=render_thumbnails(config, layout, corpus, live),
        lineage=tuple(_lineage(layout, evaluation.data.snapshot)) if evaluation else (),
    )


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


def _heads(layout: StoreLayout, corpus: str, name: str) -> list[Manifest]:
    dataset = layout.dataset(corpus, name)
    return [head for partition in dataset.partitions() if (head := read_head(dataset, partition))]


def _funnel(layout: StoreLayout, corpus: str, live: pl.DataFrame, written: int) -> Funnel:
    totals = [head.totals for head in _heads(layout, corpus, CLIPS)]
    fates = {name: sum(total.get(name, 0) for total in totals) for name in _FATES}
    return Funnel(
        stages=(
            Tally(label="files", count=sum(fates.values())),
            Tally(label="assets", count=live["asset_id"].n_unique()),
            Tally(label="clips", count=live.height),
            Tally(label="feature values", count=written),
        ),
        fates=tuple(
            Tally(label=_FATES[name], count=count) for name, count in fates.items() if count or name != "tombstoned"
        ),
    )


def _quarantine(layout: StoreLayout, corpus: str) -> Iterator[QuarantineReason]:
    rows = read_quarantine(layout, corpus).sort("stage", "code", "file", "clip_key")
    for (stage, code), group in rows.group_by("stage", "code", maintain_order=True):
        first = group.row(0, named=True)
        yield QuarantineReason(
            stage=str(stage),
            code=str(code),
            count=group.height,
            example=first["file"] or first["clip_key"] or first["source_id"],
            detail=first["detail"],
            replay=first["replay"],
        )


def _features(layout: StoreLayout, corpus: str) -> Iterator[FeatureCounts]:
    for name in layout.feature_names(corpus):
        heads = _heads(layout, corpus, name)
        schema = read_schema(layout.dataset(corpus, name))
        shards = [shard for head in heads for shard in head.shards]
        yield FeatureCounts(
            feature=name,
            shape=f"{schema.kind}, {schema.dim} wide",
            shards=len(shards),
            written=sum(shard.samples for shard in shards),
            absent=sum(shard.absent for shard in shards),
            quarantined=sum(shard.quarantined for shard in shards),
            nbytes=sum(file.nbytes for shard in shards for file in shard.files),
        )


def _lineage(layout: StoreLayout, snapshot: Snapshot) -> Iterator[Source]:
    yield Source(kind="snapshot", name=snapshot.corpus, digest=snapshot.digest)
    for entry in snapshot.entries:
        yield Source(
            kind="manifest",
            name=f"{entry.dataset} dt={entry.partition}",
            digest=entry.sha256,
            note=f"revision {entry.revision}",
        )


def _next_steps(
    corpus: str, evaluation: Evaluation | None, released: ReleaseReport | None, has_quarantine: bool
) -> Iterator[Step]:
    if has_quarantine:
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
