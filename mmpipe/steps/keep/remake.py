"""Make lost shards of features again, and no other: a dry run decides what can be made as the real one does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmpipe.config import Config
from mmpipe.errors import ConfigError, MmpipeError, StoreError
from mmpipe.steps.keep.restore import BAD_BYTES, Step
from mmpipe.store.claims import running_shards
from mmpipe.store.finding import Finding
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout
from mmpipe.store.objects import has_object
from mmpipe.store.revisions import read_head
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import chosen_corpora

if TYPE_CHECKING:
    from mmpipe.steps.plan.plan import Plan

_LEFT = "it is due: `mmpipe run` makes it, where the raw files and the pipeline's install are"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LostShard:
    """One shard of one feature that has to be made again."""

    corpus: str
    partition: str
    shard: int
    feature: str

    @property
    def path(self) -> str:
        """Return how a step names it."""
        return f"{self.corpus}/{self.feature} dt={self.partition} shard {self.shard}"


def find_lost_shards(
    layout: StoreLayout, corpus: str | None, bad: Iterable[Finding], restored: Collection[str]
) -> list[LostShard]:
    """Return the shards whose bytes are bad or gone, and all of a partition whose head was bad.

    `restored` are the paths of what comes back from elsewhere, which a dry run has not put there.
    """
    back = {path.rpartition("/")[2] for path in restored}
    names = {finding.path.rpartition("/")[2] for finding in bad if finding.code in BAD_BYTES}
    headless = {tuple(finding.path.split("/")[:4]) for finding in bad if finding.code == "manifest_damaged"}
    lost: set[LostShard] = set()
    for name in chosen_corpora(layout, corpus):
        for feature in layout.feature_names(name):
            dataset = layout.dataset(name, feature)
            for partition in dataset.partitions():
                numbers = bad_shards(dataset, partition, names, back)
                if (name, feature, "_meta", f"dt={partition}") in headless:
                    spine = layout.dataset(name, CLIPS)
                    head = read_head(spine, partition) if partition in spine.partitions() else None
                    numbers |= {shard.number for shard in head.shards} if head else set()
                lost |= {LostShard(corpus=name, partition=partition, shard=n, feature=feature) for n in numbers}
    return sorted(lost)


def bad_shards(dataset: DatasetLayout, partition: str, names: Collection[str], back: Collection[str]) -> set[int]:
    """Return the shards of a head that name an object of bad bytes, or one that neither is there nor comes back."""
    try:
        head = read_head(dataset, partition)
    except MmpipeError:
        return set()  # its head is bad itself
    return {
        shard.number
        for shard in (head.shards if head else ())
        for file in shard.files
        if file.sha256 in names or (file.sha256 not in back and not has_object(dataset, file))
    }


def make_again(
    config: Config, layout: StoreLayout, lost: Sequence[LostShard], foreseen: Collection[str] | None = None
) -> list[Step]:
    """Make the lost shards, and no other, as the config says; what cannot be made stays due.

    A dry run gives in `foreseen` the paths of what would be restored before: it makes nothing.
    """
    steps = []
    for corpus, feature in sorted({(item.corpus, item.feature) for item in lost}):
        shards = [item for item in lost if (item.corpus, item.feature) == (corpus, feature)]
        why = _extract(config, layout, corpus, feature, shards, foreseen)
        for item in shards:
            is_left = why and (foreseen is not None or not _is_whole(layout, item))
            detail = f"{_LEFT} ({why})" if is_left else ""
            steps.append(Step(action="left" if is_left else "made", path=item.path, detail=detail))
    return steps


def _is_whole(layout: StoreLayout, item: LostShard) -> bool:
    """Say whether a shard was made, though another of the same feature was not."""
    dataset = layout.dataset(item.corpus, item.feature)
    try:
        head = read_head(dataset, item.partition)
    except MmpipeError:
        return False
    entry = head.shard(item.shard) if head else None
    return entry is not None and all(has_object(dataset, file) for file in entry.files)


def _extract(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    feature: str,
    shards: Sequence[LostShard],
    foreseen: Collection[str] | None,
) -> str:
    """Make shards of one feature and commit them; return why that cannot be, "" where it was done or would be."""
    try:
        from mmpipe.steps.extract.extract import extract_plan

        _require_possible(config, layout, corpus, feature, shards)
        if foreseen is None:
            extract_plan(config, _plan(layout, corpus, feature, shards))
        elif not any(path.startswith(f"{corpus}/{CLIPS}/") for path in foreseen):
            _plan(layout, corpus, feature, shards)
    except (MmpipeError, ImportError) as error:
        return str(error).splitlines()[0]
    return ""


def _require_possible(
    config: Config, layout: StoreLayout, corpus: str, feature: str, shards: Sequence[LostShard]
) -> None:
    """Raise what keeps shards of a feature from being made: the config, the raw files, or somebody at work on them."""
    from mmpipe.features.extractor import feature_name
    from mmpipe.steps.plan.external_pins import registered_names
    from mmpipe.steps.plan.feature_set import resolve_features
    from mmpipe.steps.plan.plan import raise_if_running

    if feature not in [feature_name(extractor) for extractor in resolve_features(config, corpus)]:
        raise ConfigError(f"the config makes no {feature} for {corpus!r}")
    _, source = config.corpus(corpus)
    if feature.rpartition("@")[0] not in registered_names(layout, corpus) and not source.root.is_dir():
        raise StoreError(f"the corpus root {source.root} is not a folder")
    running = running_shards(layout, corpus)
    places = {(item.partition, item.shard) for item in shards}
    raise_if_running({place: who for place, who in running.items() if place in places})


def _plan(layout: StoreLayout, corpus: str, feature: str, shards: Sequence[LostShard]) -> Plan:
    """Return the plan that makes shards of one feature again."""
    from mmpipe.steps.plan.plan import Plan, ShardDue

    spine = read_spine(layout, corpus, sorted({item.partition for item in shards}))
    dues = []
    for item in shards:
        rows = (spine["partition"] == item.partition) & (spine["shard"] == item.shard)
        dues.append(
            ShardDue(
                partition=item.partition,
                shard=item.shard,
                features=(feature,),
                reasons=("its bytes are damaged or gone",),
                clips=int(rows.sum()),
                again=True,
                reuse=False,
            )
        )
    return Plan(corpus=corpus, shards=tuple(dues))
