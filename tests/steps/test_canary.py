"""A new version of a feature is tried on one shard, held against the old one, and seen by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, SOUND, write_pairs

import mmpipe
from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.extract.canary import make_canary
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.extract.feature_compare import compare_features
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.layout import StoreLayout
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")
NEW = "mfcc-narrow"


def settings(folder: Path, *features: str, **tables: dict) -> Config:
    return parse_config(
        {
            "store": str(folder / "store"),
            "engine": {"workers": 2},
            "corpora": {CORPUS: {"root": str(folder / "media"), "features": list(features), "shard_clips": 4}},
            "features": {NEW: {"extractor": "audio-mfccseg", "num_mels": 40}, **tables},
        }
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Path:
    """Return the folder of a store with two shards of six clips each of which has its sound committed."""
    folder = tmp_path_factory.mktemp("canary")
    write_pairs(folder / "media", [f"clip{number}" for number in range(6)])
    config = settings(folder, "audio-mfccseg")
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS))
    return folder


def test_one_shard_is_made_compared_and_seen_by_nobody(project: Path) -> None:
    config = settings(project, "audio-mfccseg")
    made = make_canary(config, CORPUS, NEW)
    assert (made.feature, made.against, made.partition, made.shard) == (f"{NEW}@1", SOUND, DT, 0)
    assert made.made and made.quarantined == {}
    assert made.likeness is not None and made.likeness.clips == 4 and made.likeness.lost == 0
    layout = StoreLayout(project / "store")
    assert layout.feature_names(CORPUS) == (SOUND,)
    assert mmpipe.open(project / "store" / CORPUS).features == (SOUND,)
    assert verify_store(layout) == ()
    assert plan_corpus(config, CORPUS).is_empty, "a night must not take it up"
    again = make_canary(config, CORPUS, NEW)
    assert not again.made and again.likeness == made.likeness

    adopted = settings(project, "audio-mfccseg", NEW)
    due = plan_corpus(adopted, CORPUS)
    assert [(shard.shard, shard.features) for shard in due.shards] == [(0, (f"{NEW}@1",)), (1, (f"{NEW}@1",))]
    report, _ = extract_plan(adopted, due)
    assert report.computed == 2, "the shard of the canary is not made again"
    whole = compare_features(adopted, CORPUS, "audio-mfccseg", NEW)
    assert (whole.old, whole.new, whole.partitions, whole.likeness.clips) == (SOUND, f"{NEW}@1", (DT,), 6)
    with pytest.raises(ConfigError, match="nothing to try out"):
        make_canary(adopted, CORPUS, NEW)


def test_a_change_in_place_is_held_against_what_is_committed(project: Path) -> None:
    config = settings(project, "audio-mfccseg", **{"audio-mfccseg": {"num_mels": 48}})
    made = make_canary(config, CORPUS, "audio-mfccseg", shard=1)
    assert (made.feature, made.against, made.shard) == (SOUND, SOUND, 1)
    assert made.likeness is not None and made.likeness.clips == 2 and made.likeness.equal == 0


def test_what_is_not_there_is_named(project: Path) -> None:
    config = settings(project, "audio-mfccseg")
    with pytest.raises(ConfigError, match="no shard 9"):
        make_canary(config, CORPUS, NEW, shard=9)
    with pytest.raises(ConfigError, match="no clips of 2020-01-01"):
        make_canary(config, CORPUS, NEW, dt="2020-01-01")
    with pytest.raises(ConfigError, match="'nobody' is not committed"):
        make_canary(config, CORPUS, "audio-logmel", against="nobody")
    with pytest.raises(ConfigError, match="nobody"):
        make_canary(config, CORPUS, "nobody")
    with pytest.raises(ConfigError, match="itself"):
        compare_features(config, CORPUS, SOUND, SOUND)
    with pytest.raises(ConfigError, match="no feature"):
        compare_features(config, CORPUS, SOUND, "text-ngrams")
