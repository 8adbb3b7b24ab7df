"""The ledger: every shard x feature that the config wants against what the heads hold, judged as one frame.

Nothing here trusts a marker or a date: a shard is complete if the head manifest names it under the wanted fingerprint,
made from the digests that the spine has now, and its files are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import ConfigError, TransientError
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.features.naming import extractor_behind, rendition_of
from mmpipe.steps.plan.choices import NEVER, State
from mmpipe.steps.plan.external_drift import hold_drifted
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.inputs import inputs_of_shards, is_made_from, split_inputs
from mmpipe.steps.plan.renditions import noted_rendition
from mmpipe.store.cache import cache_path, keep_frame, load_frame
from mmpipe.store.claims import Place, running_shards
from mmpipe.store.heads import missing_objects, read_heads
from mmpipe.store.identity import Identity, name_changes, read_identity
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout, open_store
from mmpipe.store.receipt import list_receipts, read_receipt, receipt_name
from mmpipe.store.revisions import read_head
from mmpipe.store.spine import read_spine_manifest
from mmpipe.types import Modality

LEDGER = {
    "partition": pl.String(),
    "shard": pl.Int32(),
    "feature": pl.String(),
    "state": pl.String(),
    "reason": pl.String(),
    "clips": pl.Int64(),
    "samples": pl.Int64(),
    "quarantined": pl.Int64(),
    "inputs": pl.String(),  # the digest that a complete shard must have been made from
    "nbytes": pl.Int64(),  # of its files
    "held": pl.Boolean(),  # another team's files are not as they were pinned: a person decides, no night does
}
_DIGESTS = {"data": pl.String(), "live": pl.Int64()} | {str(modality): pl.String() for modality in Modality}
_WORTH_KEEPING = 64  # as for heads
_GONE = "its files are gone or cut short"
_CUT_SHORT = "its commit was cut short: nothing is left to compute"
_SAME, _SINCE, _REVIVED, _CHANGED = "same", "superseded since", "live again", "changed"
_OTHER_EXTRACTOR = "the extractor's parameters, version or weights changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFeature:
    """All that the ledger must know of a feature, whoever makes it."""

    name: str  # audio-logmel@1
    modality: Modality
    fingerprint: str
    identity: Identity  # what the fingerprint stands for


def read_ledger(
    config: Config,
    corpus: str,
    partitions: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    extractors: Sequence[Extractor] | None = None,
) -> pl.DataFrame:
    """Return one row per shard x feature, as LEDGER says, by partition, feature in the config's order, and shard.

    `extractors` are those of the corpus, where the caller has them already, or only some of them can be made.
    """
    wanted = wanted_features(config, corpus, features, extractors)
    layout = open_store(config.store)
    spine = read_shards(layout, corpus, partitions)
    frames = [_judge_feature(layout, corpus, feature, spine, partitions) for feature in wanted]
    ordered = [frame.with_columns(place=pl.lit(number)) for number, frame in enumerate(frames)]
    if not ordered or spine.is_empty():
        return pl.DataFrame(schema=LEDGER)
    rows = pl.concat(ordered).sort("partition", "place", "shard")
    judged = hold_drifted(layout, corpus, rows)
    return _with_running(judged.select(list(LEDGER)), running_shards(layout, corpus))


def wanted_features(
    config: Config, corpus: str, chosen: Sequence[str] | None = None, extractors: Sequence[Extractor] | None = None
) -> list[WantedFeature]:
    """Return what a corpus is due, or those of it that are chosen by name with or without version."""
    extractors = resolve_features(config, corpus) if extractors is None else extractors
    known = {name: feature_name(extractor) for extractor in extractors for name in (extractor.name,)}
    known |= {name: name for name in known.values()}
    if unknown := sorted(set(chosen or ()) - known.keys()):
        names = ", ".join(extractor.name for extractor in extractors)
        raise ConfigError(
            f"{corpus!r} has no feature {unknown[0]!r}; its features are: {names}. Add it to `features` of the corpus."
        )
    names_chosen = {known[name] for name in (known if chosen is None else chosen)}
    return [
        WantedFeature(
            name=feature_name(extractor),
            modality=extractor.modality,
            fingerprint=fingerprint(extractor),
            identity=identity_of(extractor),
        )
        for extractor in extractors
        if feature_name(extractor) in names_chosen
    ]


def identity_of(extractor: Extractor) -> Identity:
    """Return what an extractor's fingerprint is made from."""
    return Identity(
        extractor=extractor_behind(extractor).name,
        version=extractor.version,
        params=extractor.params.model_dump(mode="json"),
        dtype=extractor.schema.dtype,
        weights=extractor.weights_sha256,
        rendition=noted_rendition(rendition_of(extractor)),
    )


def read_shards(layout: StoreLayout, corpus: str, partitions: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the spine's shards that have clips, with what each modality's features are made from.

    `clips` counts the live ones: what is superseded is nobody's work any more.
    """
    dataset = layout.dataset(corpus, CLIPS)
    shards = read_heads(dataset, partitions).filter(pl.col("samples") > 0)
    shards = shards.select("partition", "shard", "data")
    path = cache_path(layout, corpus, "inputs")
    kept = load_frame(path, _DIGESTS) if shards.height >= _WORTH_KEEPING else pl.DataFrame(schema=_DIGESTS)
    unread = shards.join(kept, on="data", how="anti")["partition"].unique().sort()
    rows = [row for partition in unread for row in _digest_shards(dataset, partition)]
    digests = pl.concat([kept, pl.DataFrame(rows, schema=_DIGESTS, orient="row")]).unique("data")
    if len(rows) >= _WORTH_KEEPING:
        keep_frame(layout, path, digests.join(shards, on="data", how="semi") if partitions is None else digests)
    found = shards.join(digests, on="data", how="left")
    if found[str(Modality.VIDEO)].null_count():
        raise TransientError(f"the spine of {corpus!r} was committed anew while it was read. Run the same again.")
    return found.rename({"live": "clips"})


def _digest_shards(dataset: DatasetLayout, partition: str) -> Iterator[tuple[str | int, ...]]:
    """Yield (sha256 of the file, number of live clips, inputs per modality) of each shard of a partition's spine."""
    head = read_head(dataset, partition)
    spine = read_spine_manifest(dataset, head)
    live = dict(spine.group_by("shard").agg((~pl.col("superseded")).sum()).iter_rows())
    noted = inputs_of_shards(spine)
    for entry in head.shards if head else ():
        if entry.number in noted:
            inputs = noted[entry.number]
            yield entry.files[0].sha256, live[entry.number], *(inputs[modality] for modality in Modality)


def _judge_feature(
    layout: StoreLayout, corpus: str, feature: WantedFeature, spine: pl.DataFrame, partitions: Sequence[str] | None
) -> pl.DataFrame:
    """Return the ledger's rows of one feature; shards that the spine does not have are not looked at."""
    dataset = layout.dataset(corpus, feature.name)
    heads = read_heads(dataset, partitions)
    marks = heads.select("partition", head_mark="fingerprint").unique("partition")
    entries = heads.drop_nulls("shard").select(pl.exclude("fingerprint", "spine", "absent"), made_from="inputs")
    rows = (
        spine.select("partition", "shard", "clips", inputs=str(feature.modality))
        .join(marks, on="partition", how="left")
        .join(entries.drop("inputs"), on=["partition", "shard"], how="left", maintain_order="left")
        .with_columns(_fit())
        .with_columns(pl.lit(feature.name).alias("feature"), *_judgement(feature, _changes(dataset, feature, marks)))
        .with_columns(pl.col("samples", "quarantined").fill_null(0))
        .with_columns(nbytes=(pl.col("data_nbytes") + pl.col("index_nbytes")).fill_null(0), held=pl.lit(False))
    )
    rows = _with_gone(dataset, rows)
    # A shard without live clips is nobody's work, unless a head names files of it that are lost.
    rows = rows.filter((pl.col("clips") > 0) | (pl.col("reason") == _GONE))
    return _with_cut_short(dataset, feature, rows).select(list(LEDGER))


def _changes(dataset: DatasetLayout, feature: WantedFeature, marks: pl.DataFrame) -> dict[str, str]:
    """Return for the fingerprints of heads, where they are not the wanted one, what has changed since."""
    others = (mark for mark in marks["head_mark"].unique() if mark != feature.fingerprint)
    found = ((mark, read_identity(dataset, mark)) for mark in others)
    return {
        mark: (name_changes(before, feature.identity) if before else "") or _OTHER_EXTRACTOR for mark, before in found
    }


def _judgement(feature: WantedFeature, changes: Mapping[str, str]) -> tuple[pl.Expr, pl.Expr]:
    """Return the state and the reason as the manifests alone have them; the first that holds counts."""
    no_shard = pl.col("made_from").is_null()
    quarantined = pl.format("{} of {} clips are in quarantine", "quarantined", "clips")
    cases = (
        (pl.col("head_mark") != feature.fingerprint, State.STALE, pl.col("head_mark").replace(changes)),
        (no_shard, State.MISSING, pl.lit(NEVER)),
        (pl.col("fit") == _CHANGED, State.STALE, pl.lit(f"the {feature.modality} of its clips changed")),
        (pl.col("fit") == _REVIVED, State.STALE, pl.lit("clips that were superseded are live again")),
        ((pl.col("quarantined") > 0) & (pl.col("fit") == _SINCE), State.STALE, pl.lit("failed, and superseded since")),
        (pl.col("quarantined") > 0, State.FAILED, quarantined),
    )
    state, reason = pl.lit(str(State.COMPLETE)), pl.lit("complete")
    for holds, name, why in reversed(cases):
        state = pl.when(holds).then(pl.lit(str(name))).otherwise(state)
        reason = pl.when(holds).then(why).otherwise(reason)
    return state.alias("state"), reason.alias("reason")


def _fit() -> pl.Expr:
    """Return how what a shard was made from stands to what it would be made from now."""
    pair = pl.struct("made_from", "inputs")
    judged = pair.map_elements(lambda row: _judge_inputs(row["made_from"], row["inputs"]), pl.String)
    differs = pl.col("made_from").is_not_null() & (pl.col("made_from") != pl.col("inputs"))
    return pl.when(differs).then(judged).otherwise(pl.lit(_SAME)).alias("fit")


def _judge_inputs(made: str | None, inputs: str) -> str:
    if made is None or made == inputs:
        return _SAME
    if is_made_from(made, inputs):
        return _SINCE
    return _REVIVED if split_inputs(made)[0] == split_inputs(inputs)[0] else _CHANGED


def _with_gone(dataset: DatasetLayout, rows: pl.DataFrame) -> pl.DataFrame:
    """Call missing what should be there, but has lost its files."""
    made = rows.filter(pl.col("state").is_in([State.COMPLETE, State.FAILED]))
    gone = missing_objects(dataset, made)
    return _as_missing(rows, gone.select("partition", "shard"), _GONE) if gone.height else rows


def _with_cut_short(dataset: DatasetLayout, feature: WantedFeature, rows: pl.DataFrame) -> pl.DataFrame:
    """Call missing what is committed but still has a receipt: what shows the manifest to others may be behind it."""
    names = list_receipts(dataset)
    complete = rows.filter(pl.col("state") == State.COMPLETE)
    places = complete.select("partition", "shard", "made_from") if names else None
    if places is None:
        return rows
    waiting = [
        (partition, shard)
        for partition, shard, inputs in places.iter_rows()
        if receipt_name(dataset, partition, feature.fingerprint, shard, inputs) in names
        and read_receipt(dataset, partition, feature.fingerprint, shard, inputs)
    ]
    if not waiting:
        return rows
    schema = {"partition": pl.String, "shard": pl.Int32}
    return _as_missing(rows, pl.DataFrame(waiting, schema=schema, orient="row"), _CUT_SHORT)


def _with_running(rows: pl.DataFrame, running: Mapping[Place, str]) -> pl.DataFrame:
    """Call running what is not complete and somebody has claimed; the reason is who."""
    if not running:
        return rows
    claims = [(partition, shard, who) for (partition, shard), who in running.items()]
    schema = {"partition": pl.String, "shard": pl.Int32, "holder": pl.String}
    places = pl.DataFrame(claims, schema=schema, orient="row")
    marked = rows.join(places, on=["partition", "shard"], how="left", maintain_order="left")
    hit = pl.col("holder").is_not_null() & (pl.col("state") != State.COMPLETE)
    return marked.with_columns(
        state=pl.when(hit).then(pl.lit(str(State.RUNNING))).otherwise("state"),
        reason=pl.when(hit).then("holder").otherwise("reason"),
    ).drop("holder")


def _as_missing(rows: pl.DataFrame, places: pl.DataFrame, why: str) -> pl.DataFrame:
    marked = rows.join(
        places.with_columns(hit=pl.lit(True)), on=["partition", "shard"], how="left", maintain_order="left"
    )
    return marked.with_columns(
        state=pl.when("hit").then(pl.lit(str(State.MISSING))).otherwise("state"),
        reason=pl.when("hit").then(pl.lit(why)).otherwise("reason"),
    ).drop("hit")
