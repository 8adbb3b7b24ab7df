"""Why a shard that was added to a date is missing: files with new bytes, or known streams under new keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from mmpipe.steps.plan.choices import NEVER, State
from mmpipe.steps.plan.inputs import STREAM_COLUMNS, leaves_out
from mmpipe.steps.plan.ledger import read_shards
from mmpipe.store.layout import StoreLayout
from mmpipe.store.spine import read_spine
from mmpipe.types import Modality

_MOST_DATES = 100  # of a longer list the newest are explained: each costs a look into its spine
_CUT = ["start_ns", "end_ns"]


def with_causes(
    layout: StoreLayout, corpus: str, ledger: pl.DataFrame, modalities: Mapping[str, Modality]
) -> pl.DataFrame:
    """Return a ledger whose missing shards say why, where clips that were replaced tell it."""
    missing = ledger.filter(
        (pl.col("state") == State.MISSING) & (pl.col("reason") == NEVER) & (pl.col("shard") > 0)
    )  # the first shard of a date has nothing before it
    causes = list(_causes(layout, corpus, missing, modalities)) if missing.height else []
    if not causes:
        return ledger
    schema = {"partition": pl.String, "shard": pl.Int32, "feature": pl.String, "cause": pl.String}
    named = ledger.join(
        pl.DataFrame(causes, schema=schema, orient="row"),
        on=["partition", "shard", "feature"],
        how="left",
        maintain_order="left",
    )
    return named.with_columns(reason=pl.coalesce("cause", "reason")).drop("cause")


def _causes(
    layout: StoreLayout, corpus: str, missing: pl.DataFrame, modalities: Mapping[str, Modality]
) -> Iterator[tuple[str, int, str, str]]:
    newest = missing["partition"].unique().sort(descending=True).head(_MOST_DATES).to_list()
    for partition in _with_superseded(layout, corpus, newest):
        spine = read_spine(layout, corpus, (partition,))
        shards = missing.filter(pl.col("partition") == partition).select("shard", "feature")
        for shard, feature in shards.iter_rows():
            before = spine.filter((pl.col("shard") < shard) & pl.col("superseded"))
            rows = spine.filter(pl.col("shard") == shard)
            if cause := _cause(before, rows, modalities[feature]):
                yield partition, shard, feature, cause


def _with_superseded(layout: StoreLayout, corpus: str, partitions: Sequence[str]) -> list[str]:
    """Return the dates whose spine has superseded clips: of the others there is nothing to tell."""
    shards = read_shards(layout, corpus, partitions)
    found = set(shards.filter(leaves_out(pl.col(str(Modality.VIDEO))))["partition"])
    return [partition for partition in partitions if partition in found]


def _cause(before: pl.DataFrame, rows: pl.DataFrame, modality: Modality) -> str:
    """Say what happened to the stream of clips that took the place of others; "" where none did."""
    stream = STREAM_COLUMNS[modality]
    replaced = rows.filter((pl.col(stream) != "") & pl.col("source_id").is_in(before["source_id"].implode()))
    if replaced.is_empty():
        return ""
    changed = replaced.join(before, on=[stream, *_CUT], how="anti")
    if changed.is_empty():
        same = replaced.height == rows.filter(pl.col(stream) != "").height
        return f"same {modality} under a new key: copied, nothing to compute" if same else ""
    names = changed["source_id"].unique().sort().to_list()
    if changed.join(before, on=stream, how="anti").is_empty():
        return f"the {modality} of {_quoted(names)} is cut otherwise"
    return f"the {modality} of {_quoted(names)} has new bytes"


def _quoted(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"
