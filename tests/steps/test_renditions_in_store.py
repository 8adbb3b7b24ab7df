"""Features of renditions: datasets of their own, stale with the cause by name, the same whatever the workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from corpus_maker import CORPUS, LATER, extract, ingest, make_config, shards, tree, write_film, write_pairs

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError, StoreError
from mmpipe.steps.ingest.banks import make_bank
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.plan.feature_set import resolve_feature, resolve_features
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.plan.renditions import bank_settings
from mmpipe.store.banks import bank_digest, bank_keys
from mmpipe.store.layout import BANKS, StoreLayout
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

NAMES = [f"clip{number}" for number in range(8)]
BANK = {"clips": 4, "voices": 2, "length_s": 2.0, "sample_rate_hz": 8_000}
CLEAN = {"modality": "audio", "filters": ["highpass=f=200", "afftdn=nr=10"]}
PLAIN, NOISY, MADE_CLEAN = "audio-mfccseg@1", "audio-mfccseg.noisy@1", "audio-mfccseg.clean@1"

pytestmark = pytest.mark.usefixtures("warm_workers")


def noisy(snr_db: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"modality": "audio", "noise": {"bank": "babble", "snr_db": snr_db}, **more}


def config_of(folder: Path, workers: int = 2, snr_db: float = 0.0, **corpus: Any) -> Config:
    """Return a config of sounds as they are, cleaned and with babble."""
    settings = {
        "features": ["audio-mfccseg", "audio-mfccseg.clean", "audio-mfccseg.noisy"],
        "renditions": {"clean": CLEAN, "noisy": noisy(snr_db)},
        "banks": {"babble": BANK},
        "split": {"val": 0.2, "test": 0.2},
        **corpus,
    }
    config = make_config(folder, **settings)
    return config.model_copy(update={"engine": config.engine.model_copy(update={"workers": workers})})


def values(config: Config, feature: str) -> dict[str, bytes]:
    """Return the value of every clip."""
    layout = StoreLayout(config.store)
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, (feature,)), (feature,))
    batches = (reader.gather(np.array([row])).features[feature].x_BTD.tobytes() for row in range(len(reader)))
    return dict(zip(reader.spine["key"], batches, strict=True))


def digest(config: Config) -> str:
    _, source = config.corpus(CORPUS)
    return bank_digest(StoreLayout(config.store), CORPUS, "babble", bank_settings(source, "babble"))


def due(config: Config) -> dict[str, str]:
    """Return every feature that is due, and why."""
    plan = plan_corpus(config, CORPUS)
    return {name: reason for shard in plan.shards for name, reason in shard.named_reasons()}


def test_a_rendition_is_a_feature_of_its_own(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES)
    config = config_of(tmp_path)
    ingest(config)
    extract(config)
    made = {name: values(config, name) for name in (PLAIN, NOISY, MADE_CLEAN)}
    assert {len(found) for found in made.values()} == {len(NAMES)}
    assert all(made[PLAIN][key] != made[NOISY][key] != made[MADE_CLEAN][key] for key in made[PLAIN])
    assert not due(config)
    before = tree(config.store)
    assert plan_corpus(config, CORPUS).is_empty
    assert tree(config.store) == before
    assert not verify_store(StoreLayout(config.store))
    card = (config.store / CORPUS / NOISY / "README.md").read_text()
    assert r"rendition: snr\_db" in card and "of the rendition `noisy`" in card
    assert not any((config.store / "_staging").glob("shard-*"))
    keys = bank_keys(StoreLayout(config.store), CORPUS, "babble")
    splits = dict(read_spine(StoreLayout(config.store), CORPUS).select("key", "split").iter_rows())
    assert len(keys) == BANK["clips"]
    assert {splits[key] for key in keys} == {"train"}


def test_a_change_is_called_by_its_name(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES[:3])
    config = config_of(tmp_path, split={"val": 0, "test": 0})
    ingest(config)
    extract(config)
    assert due(config_of(tmp_path, snr_db=-5.0, split={"val": 0, "test": 0})) == {
        NOISY: "rendition: snr_db 0.0 -> -5.0"
    }
    cleaner = {"clean": {**CLEAN, "filters": ["afftdn=nr=12"]}, "noisy": noisy()}
    asked = config_of(tmp_path, renditions=cleaner, split={"val": 0, "test": 0})
    assert due(asked) == {MADE_CLEAN: 'rendition: filters ["highpass=f=200", "afftdn=nr=10"] -> ["afftdn=nr=12"]'}
    other = due(config_of(tmp_path, banks={"babble": {**BANK, "voices": 3}}, split={"val": 0, "test": 0}))
    assert other.keys() == {NOISY} and other[NOISY].endswith("(none yet)")


def test_values_do_not_depend_on_workers_and_shards(tmp_path: Path) -> None:
    made = []
    for number, (workers, shard_clips) in enumerate(((1, 100), (2, 3))):
        folder = tmp_path / str(number)
        write_pairs(folder / "media", NAMES[:5] if number else NAMES[4::-1])
        config = config_of(folder, workers, shard_clips=shard_clips)
        ingest(config)
        extract(config)
        made.append({name: values(config, name) for name in (NOISY, MADE_CLEAN)})
        made[-1]["bank"] = {"": digest(config).encode()}
    assert made[0] == made[1]


def test_late_clips_never_change_a_bank(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES[:4])
    config = config_of(tmp_path)
    ingest(config)
    extract(config)
    frozen, first = digest(config), shards(config, NOISY)
    write_pairs(tmp_path / "media", NAMES[4:])
    ingest(config, LATER)
    assert due(config).keys() == {PLAIN, NOISY, MADE_CLEAN}
    extract(config)
    assert digest(config) == frozen
    assert shards(config, NOISY) == first
    assert make_bank(config, CORPUS, "babble") == frozen
    assert make_bank(config, CORPUS, "babble", again=True) != frozen, "asked for, it is drawn anew"
    assert NOISY in due(config)


def test_forgetting_a_clip_makes_another_bank(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES)
    config = config_of(tmp_path, split={"val": 0, "test": 0})
    ingest(config)
    extract(config)
    layout = StoreLayout(config.store)
    keys, before = bank_keys(layout, CORPUS, "babble"), digest(config)
    spine = read_spine(layout, CORPUS)
    gone = spine.filter(pl.col("key") == keys[0]).row(0, named=True)
    old = {path.name for path in (config.store / CORPUS / BANKS / "objects").glob("*/*")}
    forget(config, CORPUS, gone["source_id"], "asked to")
    assert bank_keys(layout, CORPUS, "babble") == keys[1:]
    assert digest(config) not in ("", before)
    assert not old & {path.name for path in (config.store / CORPUS / BANKS / "objects").glob("*/*")}, (
        "its sound is gone"
    )
    reasons = due(config)
    assert reasons.keys() == {NOISY}
    assert reasons[NOISY] == f"rendition: bank_sha256 {before[:12]} -> {digest(config)[:12]}"
    extract(config)
    assert not due(config)
    assert gone["key"] not in values(config, NOISY)
    assert not verify_store(StoreLayout(config.store))


def test_a_clip_that_labels_put_into_another_split_leaves_the_bank(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES)
    labels = tmp_path / "labels.jsonl"

    def say(groups: dict[str, str]) -> Config:
        labels.write_text("".join(f'{{"id": "{name}", "who": "{group}"}}\n' for name, group in groups.items()))
        config = config_of(tmp_path, features=["audio-mfccseg.noisy"], labels={"file": str(labels), "group": "who"})
        ingest(config)
        return config

    config = say({name: name for name in NAMES})
    extract(config)
    layout = StoreLayout(config.store)
    keys, before = bank_keys(layout, CORPUS, "babble"), digest(config)
    rows = {row["key"]: row for row in read_spine(layout, CORPUS).iter_rows(named=True)}
    tested = next(row["source_id"] for row in rows.values() if row["split"] != "train")
    moved = rows[keys[1]]["source_id"]
    config = say({name: tested if name == moved else name for name in NAMES})
    assert bank_keys(layout, CORPUS, "babble") == (keys[0], *keys[2:])
    assert due(config)[NOISY].startswith(f"rendition: bank_sha256 {before[:12]} -> ")


def test_pictures_are_spoilt_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    for name in ("one", "two"):
        write_film(tmp_path / "media" / f"{name}.mp4", sound=name == "two")
    renditions = {
        "soft": {"modality": "video", "degrade": {"blur_px": 4.0}},
        "holes": {"modality": "video", "degrade": {"block_share": 0.3}, "seed": 5},
        "calm": {"modality": "video", "filters": ["hqdn3d", "fps=fps=4"]},
    }
    names = [f"video-hogdct.{name}" for name in renditions]
    config = make_config(tmp_path, features=["video-hogdct", *names], renditions=renditions)
    ingest(config)
    extract(config)
    assert not due(config)
    found = [values(config, f"{name}@1") for name in ("video-hogdct", *names)]
    assert all(len(made) == 2 for made in found)


def test_what_nobody_can_make_is_refused_by_name(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES[:1])
    for settings, says in (
        ({"features": ["audio-mfccseg.quiet"]}, "reads the rendition 'quiet'"),
        ({"renditions": {"noisy": {"modality": "audio", "noise": {"bank": "x", "snr_db": 1}}}}, "bank is 'x'"),
        ({"features": ["audio-mfccseg..clean"]}, "pattern"),
        ({"renditions": {"c": {"modality": "image", "filters": ["eq"]}}}, "pictures have `degrade`"),
    ):
        with pytest.raises(ConfigError, match=says):
            config_of(tmp_path, **settings)
    with pytest.raises(ConfigError, match="reads text, and the rendition 'clean' is of audio"):
        resolve_features(config_of(tmp_path, features=["text-ngrams.clean"]), CORPUS)
    config = config_of(tmp_path, renditions={"clean": {"modality": "audio", "filters": ["movie=x"]}, "noisy": noisy()})
    with pytest.raises(ConfigError, match=r"corpora.sounds.renditions.clean.filters: .*no filter 'movie'"):
        resolve_feature(config, "audio-mfccseg.clean", CORPUS)
    ingest(empty := config_of(tmp_path, split={"val": 0.5, "test": 0.49, "salt": "x"}))
    if "train" not in set(read_spine(StoreLayout(empty.store), CORPUS)["split"]):
        with pytest.raises(ConfigError, match="no train clip"):
            extract(empty)


def test_a_model_may_read_a_rendition(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    model = {"corpus": CORPUS, "target": "cue", "inputs": ["audio-mfccseg.clean"]}
    table = {"store": str(config.store), "corpora": {CORPUS: config.corpora[CORPUS].model_dump(mode="json")}}
    table["corpora"][CORPUS]["features"] = ["text-ngrams"]
    names = {extractor.name for extractor in resolve_features(parse_config(table | {"models": {"m": model}}), CORPUS)}
    assert names == {"text-ngrams", "audio-mfccseg.clean"}
    with pytest.raises(ConfigError, match=r"'audio-mfccseg\.loud' reads the rendition 'loud'"):
        parse_config(table | {"models": {"m": {**model, "inputs": ["audio-mfccseg.loud"]}}})


def test_a_bank_that_is_another_one_stops_a_shard(tmp_path: Path) -> None:
    from mmpipe.store.banks import read_bank

    with pytest.raises(StoreError, match="is another one now"):
        read_bank(StoreLayout(tmp_path), CORPUS, "babble", "0" * 64)
