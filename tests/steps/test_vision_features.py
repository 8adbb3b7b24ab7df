"""Networks and pixels as features of a corpus: planned, made by workers, read back, stale when the weights change."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus_maker import CORPUS, config_table, extract, ingest, write_film
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "features" / "encoders"))

from vision_models import save_model

import mmpipe
from mmpipe.config import Config, LimitsConfig, load_config, parse_config
from mmpipe.config.tree import resolve_paths
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import feature_name, fingerprint
from mmpipe.media.images import read_image
from mmpipe.steps.extract.extract_shard import extract_shard
from mmpipe.steps.extract.shard_plan import plan_works
from mmpipe.steps.plan.feature_set import resolve_feature, resolve_features
from mmpipe.steps.plan.feature_table import decided_table
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.layout import StoreLayout
from mmpipe.store.verify import verify_store
from mmpipe.types import ImageClip, ImageNeeds, Needs

FEATURES = ("video-hf", "image-hf", "video-pixels", "image-pixels", "still-tokens", "image-resnet50")


def write_config(folder: Path) -> Config:
    """Write some films and stills, a model, and a config beside it that names the model as a person would."""
    media = folder / "media"
    media.mkdir()
    for number in range(3):
        write_film(media / f"film-{number}.mp4", hz=400 + 100 * number)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8)).save(
            media / f"still-{number}.png"
        )
    save_model(folder / "vit", "vit")
    table = config_table(folder, features=FEATURES)
    table["features"] = {
        "video-hf": {"model": "./vit", "num_frames": 2},
        "image-hf": {"model": "./vit", "values": "float16"},
        "still-tokens": {"extractor": "image-hf", "model": "./vit", "pool": "none", "dtype": "float32"},
        "image-resnet50": {"size_px": 32, "pool": "mean"},
        "video-pixels": {"width_px": 12, "height_px": 8, "num_frames": 3},
        "image-pixels": {"width_px": 12, "height_px": 8},
    }
    (folder / "mmpipe.json").write_text(json.dumps(table))
    return resolve(table, folder)


def decoded(path: Path, needs: Needs) -> ImageClip:
    assert isinstance(needs, ImageNeeds)
    with path.open("rb") as file:
        return read_image(file.fileno(), needs, LimitsConfig())


def resolve(table: dict, folder: Path) -> Config:
    return resolve_paths(parse_config(table), folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> tuple[Path, Config]:
    folder = tmp_path_factory.mktemp("vision")
    config = write_config(folder)
    ingest(config)
    report, _ = extract(config)
    assert not report.quarantined
    return folder, config


def test_all_of_it_is_stored_and_nothing_is_due(made: tuple[Path, Config]) -> None:
    _, config = made
    assert verify_store(StoreLayout(config.store)) == ()
    assert extract(config)[0].computed == 0
    reader = mmpipe.open(config.store / CORPUS)
    batch = reader.gather(np.arange(len(reader)))
    found = {name: (str(part.x_BTD.dtype), part.x_BTD.shape[2]) for name, part in batch.features.items()}
    assert found == {
        "video-hf@1": ("float32", 32),
        "image-hf@1": ("float16", 32),
        "still-tokens@1": ("float32", 32),
        "image-resnet50@1": ("float32", 2048),
        "video-pixels@1": ("uint8", 12 * 8 * 3),
        "image-pixels@1": ("uint8", 12 * 8 * 3),
    }
    assert all(part.mask_BT.any(1).sum() == 3 for part in batch.features.values())
    assert batch.features["still-tokens@1"].mask_BT.sum() == 3 * 17


def test_the_stored_values_are_those_of_the_extractor(made: tuple[Path, Config]) -> None:
    folder, config = made
    tokens, pixels = (resolve_feature(config, name, CORPUS) for name in ("still-tokens", "image-pixels"))
    tokens.setup("cpu")
    reader = mmpipe.open(config.store / CORPUS, features=["image-pixels@1", "still-tokens@1"], missing="drop")
    stored = {}
    for row in range(len(reader)):
        seen, told = (reader[row].values[f"{name}@1"] for name in ("image-pixels", "still-tokens"))
        assert seen is not None and told is not None and told.times_ns is not None
        assert not told.times_ns.any()
        stored[seen.array.tobytes()] = told.array
    for number in range(3):
        path = folder / "media" / f"still-{number}.png"
        (small,) = pixels.extract([decoded(path, pixels.needs)])
        (value,) = tokens.extract([decoded(path, tokens.needs)])
        np.testing.assert_allclose(stored[small.array.tobytes()], value.array, atol=1e-5, rtol=1e-5)


def test_a_plan_decides_the_dtype_for_all_workers(made: tuple[Path, Config]) -> None:
    _, config = made
    extractor = resolve_feature(config, "video-hf", CORPUS)
    table = decided_table(config, extractor)
    assert table["dtype"] in ("float32", "bfloat16") and table["num_frames"] == 2
    assert "dtype" not in decided_table(config, resolve_feature(config, "video-pixels", CORPUS))


def test_other_weights_make_the_feature_stale_and_another_place_does_not(made: tuple[Path, Config]) -> None:
    folder, config = made
    before = fingerprint(resolve_feature(config, "video-hf", CORPUS))
    shutil.copytree(folder / "vit", folder / "moved")
    moved = config.model_copy(update={"features": json.loads(json.dumps(config.features).replace("/vit", "/moved"))})
    assert not plan_corpus(moved, CORPUS).shards
    save_model(folder / "moved", "vit", seed=1)
    assert fingerprint(resolve_feature(moved, "video-hf", CORPUS)) != before
    due = {name for shard in plan_corpus(moved, CORPUS).shards for name in shard.features}
    assert due == {"video-hf@1", "image-hf@1", "still-tokens@1"}


def test_a_model_is_named_relative_to_the_config(tmp_path: Path) -> None:
    text = '[features.video-hf]\nmodel = "./models/vit"\n[features.image-hf]\nmodel = "owner/vit"\n'
    (tmp_path / "mmpipe.toml").write_text(text)
    features = load_config(tmp_path / "mmpipe.toml").features
    assert features["video-hf"]["model"] == str(tmp_path / "models" / "vit")
    assert features["image-hf"]["model"] == "owner/vit"


def test_weights_that_change_after_the_plan_are_not_stored_under_its_name(tmp_path: Path, warm_workers: None) -> None:
    config = write_config(tmp_path)
    ingest(config)
    plan = plan_corpus(config, CORPUS)
    layout, extractors = StoreLayout(config.store), resolve_features(config, CORPUS)
    works = plan_works(config, layout, CORPUS, plan.shards, {feature_name(one): one for one in extractors})
    save_model(tmp_path / "vit", "vit", seed=1)
    with pytest.raises(ConfigError, match="is not what was planned"):
        extract_shard(works[0], lambda part: None, {})
