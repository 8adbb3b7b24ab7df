"""What `mmpipe verify` says and how it ends: damage is 1, a warning is 0, a repaired store is 0 again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, tree, write_pairs
from typed_projects import Type, write_config

pytestmark = pytest.mark.usefixtures("warm_workers")
FEATURE = "audio-mfccseg@1"


@pytest.fixture
def project(tmp_path: Path, mmpipe: Type) -> Path:
    """Return a project with one night."""
    write_pairs(tmp_path / "media", ["one", "two"])
    write_config(tmp_path)
    for line in (f"ingest --dt {DT}", "extract"):
        assert mmpipe(tmp_path, *line.split()).code == 0
    return tmp_path


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


def test_from_without_repair_is_refused(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "verify", "--from", "copy")
    assert told.code == 3 and "--repair" in told.err
    assert mmpipe(project, "verify", "--repair", "--from", "nowhere").code == 3
