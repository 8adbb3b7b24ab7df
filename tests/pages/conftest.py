"""What the tests of the pages share: the project that every page begins with, made by typing the tutorial."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / room) for room in ("steps", "cli", "features/encoders"))]

from lent_engine import KeptEngine  # noqa: E402
from pages import DOCS, Done, do_page  # noqa: E402

from examples.demo_corpus import make_corpus  # noqa: E402


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory, _kept_engine: KeptEngine) -> Done:
    """Do the tutorial word by word; do not change its folder."""
    folder = tmp_path_factory.mktemp("tutorial")
    corpus = make_corpus(folder / "made", num_clips=48)
    shutil.move(corpus / "media", folder / "street")
    shutil.move(corpus / "labels.jsonl", folder / "street" / "labels.jsonl")
    with _kept_engine.lent():
        typed = do_page(DOCS / "tutorial.md", folder)
    return Done(folder=folder, typed=typed)


@pytest.fixture
def project(tutorial: Done, tmp_path: Path) -> Path:
    """Return a copy of the tutorial's project."""
    return Path(shutil.copytree(tutorial.folder, tmp_path / "project", symlinks=True))
