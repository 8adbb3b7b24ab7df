"""A rewritten partition brings its card up at the cost of that partition, to the bytes of a card made from all."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmpipe.config import load_config
from mmpipe.steps.ground.recommit import recommit
from mmpipe.steps.keep.forget import forget
from mmpipe.store.card import read_heads, render_card, write_card
from mmpipe.store.commit import read_head
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.store.schema import read_schema
from mmpipe.types import FeatureKind, FeatureSchema, Modality

OLD, DAY, NEXT = "2025-12-31", "2026-11-20", "2026-11-21"
SCHEMA = FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4)


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    make_sample_store(tmp_path / "store", [SampleFeature(schema=SCHEMA)], partitions=(OLD, DAY, NEXT))
    return StoreLayout(tmp_path / "store")


def card_of(dataset: DatasetLayout) -> dict[str, bytes]:
    paths = [path for path in dataset.root.glob("*") if path.suffix in (".md", ".json")]
    paths += dataset.root.glob("statistics/*")
    return {str(path.relative_to(dataset.root)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("partition", [OLD, DAY, NEXT])
def test_the_card_after_a_rewrite_is_that_of_all_heads(layout: StoreLayout, partition: str) -> None:
    dataset = layout.dataset("sample", "text-toy@1")
    before, head = card_of(dataset), read_head(dataset, partition)
    assert head
    recommit(dataset, head, {shard.number: shard for shard in head.shards[1:]})
    after = card_of(dataset)
    assert before != after and after.items() >= render_card(dataset, SCHEMA, read_heads(dataset)).items()
    assert not write_card(dataset, SCHEMA) and card_of(dataset) == after


def test_a_rewrite_of_one_year_does_not_read_the_manifests_of_another(layout: StoreLayout) -> None:
    dataset = layout.dataset("sample", "text-toy@1")
    (manifest,) = dataset.meta(OLD).glob("*.json")
    whole = manifest.read_bytes()
    manifest.chmod(0o644)
    manifest.write_bytes(b"damaged")
    head = read_head(dataset, DAY)
    assert head
    recommit(dataset, head, {shard.number: shard for shard in head.shards[1:]})
    manifest.write_bytes(whole)
    assert not write_card(dataset, SCHEMA)


def test_a_forget_leaves_the_card_of_all_heads(layout: StoreLayout, tmp_path: Path) -> None:
    (tmp_path / "mmpipe.toml").write_text('store = "store"\n[corpora.sample]\nroot = "."\n', encoding="utf-8")
    dataset = layout.dataset("sample", "text-toy@1")
    before = card_of(dataset)
    forget(load_config(tmp_path / "mmpipe.toml"), "sample", f"{DAY}/000001", "asked for")
    assert card_of(dataset) != before
    assert not write_card(dataset, read_schema(dataset))
