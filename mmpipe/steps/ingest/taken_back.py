"""What must leave the spine, because the exception that let it in was taken back and its file is refused again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from mmpipe.config import CorpusConfig
from mmpipe.media.lifted import LIFTED, LIMIT_FILE
from mmpipe.steps.ingest.partition_draft import PartitionDraft
from mmpipe.store.admitted import Admitted
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.revisions import read_head
from mmpipe.store.spine import next_shard, plan_spine, read_spine_manifest, write_spine
from mmpipe.types import Drop


def find_refused_again(
    layout: StoreLayout, corpus: str, drafts: Sequence[PartitionDraft], admitted: Admitted
) -> dict[str, frozenset[str]]:
    """Return by partition the assets that were let in once, no longer are, and cannot be used without it.

    Files that are no longer in the corpus's folder are not judged: what they gave stays.
    """
    if not admitted.taken_back:
        return {}
    kept = {entry.asset.asset_id for draft in drafts for entry in draft.kept if entry.asset}
    near = {entry.asset.asset_id for draft in drafts for entry in draft.near if entry.asset}
    assets = read_assets(layout, corpus).select("partition", "asset_id", "file", "file_sha256")
    gone = assets.filter(pl.col("asset_id").is_in(sorted(near)) | _is_refused(drafts, admitted))
    gone = gone.filter(~pl.col("asset_id").is_in(sorted(kept)))
    return {
        str(dt): frozenset(group["asset_id"]) for (dt,), group in gone.partition_by("partition", as_dict=True).items()
    }


def supersede(
    layout: StoreLayout, corpus: str, source: CorpusConfig, partition: str, asset_ids: frozenset[str]
) -> None:
    """Mark the clips of some assets as superseded, in a partition that an ingest has no other reason to commit."""
    clips = layout.dataset(corpus, CLIPS)
    head = read_head(clips, partition)
    if head is None:
        return
    existing = read_spine_manifest(clips, head)
    plan = plan_spine(existing, (), shard_clips=source.shard_clips, superseded=asset_ids, first_free=next_shard(head))
    if plan.changed:
        write_spine(clips, partition, plan)


def _is_refused(drafts: Iterable[PartitionDraft], admitted: Admitted) -> pl.Expr:
    """Return what is true for the files that were let in once, no longer are, and cannot be used without it."""
    drops = [drop for draft in drafts for drop in draft.drops if not drop.kept and drop.code in LIFTED]
    digests = {drop.file_sha256 for drop in drops if LIFTED & set(admitted.taken_back.get(drop.file_sha256, ()))}
    by_name = pl.col("file").is_in(sorted(_too_large(drops))) & pl.col("file_sha256").is_in(
        sorted(thing for thing, codes in admitted.taken_back.items() if LIMIT_FILE in codes)
    )
    return pl.col("file_sha256").is_in(sorted(digests)) | by_name


def _too_large(drops: Iterable[Drop]) -> Iterator[str]:
    """Yield the names of files that are too large to be read, so that no digest tells which they are."""
    return (drop.file for drop in drops if drop.code == LIMIT_FILE and not drop.file_sha256)
