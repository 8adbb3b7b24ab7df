"""A project whose release can be searched with, and copies of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lent_engine import KeptEngine
from search_project import MODEL, Project

from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.train import train_model


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, _kept_engine: KeptEngine) -> Project:
    """Return a project of 40 clips in three shards with a released space; do not change it."""
    made = Project(folder=tmp_path_factory.mktemp("search"))
    made.add(0, 40)
    with _kept_engine.lent():
        made.take_in()
        config = made.config()
        release_model(config, MODEL, train_model(config, MODEL).checkpoint)
    return made


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Project:
    """Return a copy that may be changed."""
    shutil.copytree(project.folder, tmp_path / "copy")
    return Project(folder=tmp_path / "copy")
