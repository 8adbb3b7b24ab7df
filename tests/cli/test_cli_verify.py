"""What `mmpipe verify` says and how it ends: damage is 1, a warning is 0, a repaired store is 0 again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, extract, ingest, tree, write_pairs
from typed_projects import Type, write_config

from mmpipe.config import load_config

pytestmark = pytest.mark.usefixtures("warm_workers")
FEATURE = "audio-mfccseg@1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Path:
    """Return a project with one night."""
    folder = tmp_path_factory.mktemp("verify")
    write_pairs(folder / "media", ["one", "two"])
    write_config(folder)
    config = load_config(folder / "mmpipe.toml")
    ingest(config)
    extract(config)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the project in which the views are links to the objects, as they were."""
    subprocess.run(["cp", "-a", made, tmp_path / "project"], check=True)
    return tmp_path / "project"


def cut(project: Path, dataset: str) -> Path:
    path = next((project / "store" / CORPUS / dataset / "objects").glob("*/*"))
    path.chmod(0o644)
    path.write_bytes(b"cut")
    return path


def test_damage_is_said_repaired_and_gone(project: Path, mmpipe: Type) -> None:
    whole = mmpipe(project, "verify")
    assert (whole.code, whole.out.strip()) == (0, "damage: none")
    path = cut(project, FEATURE)
    told = mmpipe(project, "verify", "--json")
    assert told.code == 1 and "not what they should be" in told.err
    rows = {row["path"]: row for row in told.json()}
    assert rows[str(path.relative_to(project / "store"))]["severity"] == "damage"
    before = tree(project / "store")
    dry = mmpipe(project, "verify", "--repair", "--dry-run")
    assert dry.code == 1 and "set aside:" in dry.err and "made:" in dry.err
    assert tree(project / "store") == before
    assert mmpipe(project, "verify", "--repair").code == 0
    assert mmpipe(project, "verify").code == 0


def test_the_spine_comes_back_from_a_copy(project: Path, mmpipe: Type) -> None:
    shutil.copytree(project / "store", project / "copy")
    cut(project, "clips")
    assert mmpipe(project, "verify", "--repair").code == 1
    assert mmpipe(project, "verify", "--repair", "--from", "copy").code == 0


def test_a_lost_revision_is_given_up_only_when_it_is_said(project: Path, mmpipe: Type) -> None:
    next((project / "store" / CORPUS / "clips" / "_meta").glob("*/*.json")).unlink()
    told = mmpipe(project, "verify")
    assert told.code == 1 and "manifest_missing" in told.out and "--accept-loss" in told.out
    told = mmpipe(project, "verify", "--repair")
    assert told.code == 1 and f"left: {CORPUS}/clips dt={DT}" in told.err and "manifest_missing" in told.out
    told = mmpipe(project, "verify", "--repair", "--accept-loss")
    assert f"given up: {CORPUS}/clips dt={DT}" in told.err and "manifest_missing" not in told.out
    assert mmpipe(project, "ingest", "--dt", DT).code == 0
    assert mmpipe(project, "verify").code == 0


@pytest.mark.parametrize("flag", [("--from", "copy"), ("--accept-loss",)])
def test_what_changes_something_without_repair_is_refused(project: Path, mmpipe: Type, flag: tuple[str, ...]) -> None:
    told = mmpipe(project, "verify", *flag)
    assert told.code == 3 and "--repair" in told.err
    assert mmpipe(project, "verify", "--repair", "--from", "nowhere").code == 3
