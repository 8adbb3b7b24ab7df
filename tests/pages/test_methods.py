"""What docs/methods.md names is there, and what is there is named."""

from __future__ import annotations

import re

import pytest
from pages import DOCS, REPOSITORY

from mmpipe.config.encoding import EncoderKind
from mmpipe.config.goals import Goal
from mmpipe.config.training import TrainConfig
from mmpipe.features.registry import extractor_names
from mmpipe.fusion.registry import fusion_names

PAGE = (DOCS / "methods.md").read_text("utf-8")
BUILT_IN = {
    "fusion": set(fusion_names()),
    "goal": set(Goal),
    "extractor": set(extractor_names()),
    "encoder": set(EncoderKind),
}


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_one_that_is_named_is_there_and_the_other_way_round(kind: str) -> None:
    assert set(re.findall(rf"\b{kind} `([\w-]+)`", PAGE)) == BUILT_IN[kind]


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:examples|benchmarks|mmpipe)/[\w/.-]+)`", PAGE)
    assert len(named) > 10 and not [path for path in named if not (REPOSITORY / path).exists()]


def test_every_recipe_is_named() -> None:
    for recipe in (REPOSITORY / "examples").rglob("*.toml"):
        if "deployments" not in recipe.parts and recipe.name != "pyproject.toml":
            assert str(recipe.relative_to(REPOSITORY)) in PAGE


def test_every_key_of_a_training_is_one() -> None:
    assert set(re.findall(r"`train\.(\w+)`", PAGE)) <= set(TrainConfig.model_fields)


def test_every_row_says_how_or_why_not() -> None:
    rows = [row.strip("|").split("|") for row in PAGE.splitlines() if row.startswith("| ") and "asked for" not in row]
    assert len(rows) > 70
    for asked, *answer in rows:
        assert len(answer) == 1 and answer[0].strip(), asked
        if "not done" in answer[0]:
            assert re.search(r"not done[^:]*: \S", answer[0]), f"say why: {asked}"
