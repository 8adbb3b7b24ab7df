"""Every recipe of `examples/recipes`, trained on a small corpus from files to a checkpoint."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from examples.demo_corpus import make_corpus
from mmpipe.config import Config, load_config
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.train.train import train_model
from mmpipe.steps.train.trained import read_checkpoint
from mmpipe.steps.workers.workers import shared_engine

RECIPES = sorted((Path(__file__).resolve().parent.parent / "examples" / "recipes").glob("*.toml"))
DAY = date(2026, 1, 5)
# Its networks are those of bert-resnet-transformer, and concat is trained all over; a ResNet's checkpoints are large.
OTHERS_PARTS = {"bert-resnet50"}
NUM_CLIPS = 16  # four rooms: fewer leave a part of the folds empty


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    make_corpus(folder / "corpus", num_clips=NUM_CLIPS)
    return folder


def quick(config: Config, name: str) -> Config:
    """Train one epoch on two parts, as the recipe says in all else."""
    model = config.models[name]
    short = model.model_copy(update={"folds": 2, "train": model.train.model_copy(update={"epochs": 1})})
    return config.model_copy(update={"models": {name: short}})


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [pytest.param(path, marks=pytest.mark.sweep if path.stem in OTHERS_PARTS else ()) for path in RECIPES],
    ids=lambda path: path.stem,
)
def test_a_recipe_trains_from_files_to_a_checkpoint(recipe: Path, folder: Path) -> None:
    shutil.copy(recipe, folder / recipe.name)
    config = quick(load_config(folder / recipe.name), recipe.stem)
    with shared_engine(config):
        ingest_corpus(config, "demo", DAY.isoformat())
        extract_plan(config, plan_corpus(config, "demo"))
    report = train_model(config, recipe.stem)
    assert report.num_clips == NUM_CLIPS and report.num_fits > 0
    contenders = {score.name for score in report.scores}
    model = config.models[recipe.stem]
    assert contenders == {f"{name}@1" for name in model.inputs} | (
        set(model.fusions) if len(model.inputs) > 1 else set()
    )
    kept = read_checkpoint(config.store / "checkpoints" / report.checkpoint)
    assert kept["model"]["encoders"].keys() == model.encoders.keys()
    assert train_model(config, recipe.stem).num_fits == 0
