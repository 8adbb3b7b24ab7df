"""Find out what a store holds and how its nights went, for Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import MmpipeError
from mmpipe.registry.aliases import WITHHELD, read_aliases
from mmpipe.registry.versions import list_models, list_versions
from mmpipe.steps.ground.watching import totals_folder
from mmpipe.steps.plan.feature_set import try_features
from mmpipe.steps.plan.forecast import FreeBytes, free_bytes
from mmpipe.steps.plan.ledger import read_ledger, read_shards
from mmpipe.steps.plan.status import read_status
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.quarantine import read_quarantine
from mmpipe.watch.metrics import CorpusFacts, FeatureFacts, ModelFacts, StoreFacts, render_facts
from mmpipe.watch.totals import read_totals


def render_metrics(config: Config, free: FreeBytes = free_bytes, now: datetime | None = None) -> str:
    """Return the metrics of a config's store as Prometheus reads them; opens no media and writes nothing."""
    return render_facts(gather_facts(config, free, now)).decode()


def gather_facts(config: Config, free: FreeBytes = free_bytes, now: datetime | None = None) -> StoreFacts:
    """Return all that is told of a store; a store that was never made has nothing, and a damaged corpus says so."""
    layout = StoreLayout(config.store)
    if not layout.format_file.exists():
        return StoreFacts(corpora=(), models=(), stages=(), free_bytes=free(config.store))
    layout = open_store(config.store)
    return StoreFacts(
        corpora=tuple(_corpus(config, layout, name, now) for name in sorted(config.corpora)),
        models=tuple(_models(layout)),
        stages=read_totals(totals_folder(layout)),
        free_bytes=free(config.store),
    )


def _corpus(config: Config, layout: StoreLayout, corpus: str, now: datetime | None) -> CorpusFacts:
    if corpus not in layout.corpora():
        return CorpusFacts(corpus=corpus, readable=True)  # it was never ingested
    try:
        drops = read_quarantine(layout, corpus).filter(~pl.col("kept")).group_by("stage", "code").len()
        return CorpusFacts(
            corpus=corpus,
            readable=True,
            clips=int(read_shards(layout, corpus)["clips"].sum()),
            features=tuple(_features(config, corpus, now)),
            quarantined={(stage, code): count for stage, code, count in drops.iter_rows()},
        )
    except MmpipeError:
        return CorpusFacts(corpus=corpus, readable=False)


def _features(config: Config, corpus: str, now: datetime | None) -> Iterator[FeatureFacts]:
    ledger = read_ledger(config, corpus, extractors=try_features(config, corpus)[0])
    for fresh in read_status(config, corpus, now, ledger).freshness:
        rows = ledger.filter(pl.col("feature") == fresh.feature)
        yield FeatureFacts(
            feature=fresh.feature,
            values=int(rows["samples"].sum()),
            nbytes=int(rows["nbytes"].sum()),
            shards=dict(rows.group_by("state").len().iter_rows()),
            newest_age_s=None if fresh.age_h is None else fresh.age_h * 3600,
            late=fresh.late,
        )


def _models(layout: StoreLayout) -> Iterator[ModelFacts]:
    """Yield the models with what is known of their newest version; one that is damaged is left out."""
    for name in list_models(layout.models):
        try:
            version = list_versions(layout.models, name)[-1]
            verdict = json.loads(version.read("verdict.json"))
            production = read_aliases(layout.models, name).production
        except (MmpipeError, IndexError, ValueError):
            continue
        standings = {row["name"]: row for row in verdict.get("standings", ())}
        judged = standings.get(verdict.get("judged"))
        yield ModelFacts(
            model=name,
            version=version.number,
            refused=version.status in WITHHELD,
            measure=verdict.get("measure", ""),
            worth=judged["worth"]["estimate"] if judged else None,
            production=int(production.partition("-")[0]) if production else 0,
        )
