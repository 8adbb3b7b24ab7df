"""Look for ways in which the answer or the test slips into the training of a model, by all that the store knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from mmpipe.config import Config, CorpusConfig, ModelConfig
from mmpipe.evaluate.leaks import ClipRow, Leak, find_leaks, label_in_name
from mmpipe.segment.split import deal_folds
from mmpipe.signals.near_assets import NearLimits, find_near
from mmpipe.steps.ingest.near import read_known_prints
from mmpipe.steps.ingest.near_rows import pool_of
from mmpipe.steps.train.training_set import TrainingSet
from mmpipe.store.layout import StoreLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakSearch:
    """What was found, what could not be looked for, and what was seen that decides nothing."""

    leaks: tuple[Leak, ...]
    unasked: tuple[str, ...]
    notes: tuple[str, ...]


def find_data_leaks(config: Config, settings: ModelConfig, data: TrainingSet, layout: StoreLayout) -> LeakSearch:
    """Compare the parts of a training by groups, bytes, time, prints, texts and names."""
    name, source = config.corpus(settings.corpus)
    rows = _clip_rows(settings, source, data)
    near, unasked = _near_pairs(layout, name, source, sorted({row.asset for row in rows}))
    said = label_in_name(rows)
    return LeakSearch(leaks=find_leaks(rows, near), unasked=unasked, notes=(said,) if said else ())


def _clip_rows(settings: ModelConfig, source: CorpusConfig, data: TrainingSet) -> list[ClipRow]:
    if settings.folds:
        fold_of = deal_folds(data.groups, settings.folds, source.split.salt)
        parts = [f"fold {fold_of[group]}" for group in data.groups]
    else:
        parts = list(data.splits)
    spine = data.reader.spine[data.reader_rows_N.tolist()]
    places = spine.select("asset_id", "start_ns", "end_ns", "source_id").iter_rows()
    return [
        ClipRow(
            key=key,
            part=part,
            group=group,
            streams=streams,
            text=text,
            label=label,
            asset=asset,
            start_ns=start_ns,
            end_ns=end_ns,
            name=named,
        )
        for key, part, group, streams, text, label, (asset, start_ns, end_ns, named) in zip(
            data.keys, parts, data.groups, data.streams, data.texts, data.told, places, strict=True
        )
    ]


def _near_pairs(
    layout: StoreLayout, corpus: str, source: CorpusConfig, assets: Sequence[str]
) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Return the pairs of recordings whose prints are near, and what could not be compared.

    Twins were kept out when they came in; here are those that a person let in, or that looser limits kept.
    """
    if not source.dedup.near:
        return [], (f"near_duplicate: no prints are made, corpora.{corpus}.dedup.near is off",)
    known = read_known_prints(layout, corpus, source).filter(pl.col("asset_id").is_in(list(assets)))
    ids = sorted(known["asset_id"].unique())
    missing = len(assets) - len(ids)
    unasked = (f"near_duplicate: {missing} of {len(assets)} recordings have no print",) if missing else ()
    if len(ids) < 2:
        return [], unasked
    limits = NearLimits(
        image_bits=source.dedup.image_bits,
        video_share=source.dedup.video_share,
        audio_share=source.dedup.audio_share,
        text_jaccard=source.dedup.text_jaccard,
    )
    pool = pool_of(known, ids)
    twins = find_near(pool, pool, limits).twins
    pairs = zip(twins.new_K.tolist(), twins.kept_K.tolist(), strict=True)
    return [(ids[int(one)], ids[int(other)]) for one, other in pairs if one != other], unasked
