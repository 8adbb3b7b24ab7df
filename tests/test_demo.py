"""The demo, as a person sees it: once with work to do, once without, and what it prints, pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def run_demo(folder: Path, home: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MMPIPE_"))}
    environment |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180"}
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--folder", str(folder)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def tree_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "made"
    return folder, run_demo(folder, folder.parent / "prefect")


@pytest.mark.prefect
@pytest.mark.slow
def test_the_demo_ends_with_a_released_fused_model(first: tuple[Path, str]) -> None:
    folder, said = first
    assert re.search(r"(transformer|concat|early_weighted|late_weighted) earned its release", said), said
    (report,) = re.findall(r"the report: (\S+)", said)
    page = Path(report).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "not_media" in page
    files = len(list((folder / "corpus" / "media").iterdir()))
    for count, noun in ((files, "files"), (96, "assets"), (96, "clips")):
        assert f"<b>{count}</b><span>{noun}</span>" in page
    assert "<b>2</b> <bdi>quarantined</bdi>" in page and "<b>2</b> <bdi>duplicates</bdi>" in page
    assert len(list((folder / "corpus" / "media").glob("scene-*.mp4"))) >= 60


@pytest.mark.prefect
@pytest.mark.slow
def test_each_modality_tells_part_of_the_label_and_none_all_of_it(first: tuple[Path, str]) -> None:
    _, said = first
    accuracy = {name: float(value) for name, value in re.findall(r"(\S+)\s+(?:single|fused)\s+([\d.]+)", said)}
    single = {name: value for name, value in accuracy.items() if "@" in name}
    chance = 1 / 6
    assert len(single) == 3
    assert all(chance * 1.3 < value < 0.7 for value in single.values()), single
    assert max(accuracy.values()) > max(single.values()) + 0.2


@pytest.mark.prefect
@pytest.mark.slow
def test_what_it_prints_for_other_teams_works_when_pasted(first: tuple[Path, str]) -> None:
    _, said = first
    programs = re.findall(
        r"^import os\nos\.chdir.*?^print\(len\(values\), \"clips\"\)$", said, re.DOTALL | re.MULTILINE
    )
    assert len(programs) == 3
    for program in programs:
        blocked = "import sys; sys.modules['mmpipe'] = None\n" + program
        done = subprocess.run(
            [sys.executable, "-c", blocked], cwd="/", capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.strip() == "96 clips", done.stderr


@pytest.mark.prefect
@pytest.mark.slow
def test_again_there_is_nothing_to_do_and_nothing_is_touched(first: tuple[Path, str]) -> None:
    folder, _ = first
    before = tree_of(folder / "store")
    home = folder.parent / "another-prefect"
    said = run_demo(folder, home)
    assert "nothing to do" in said
    assert tree_of(folder / "store") == before
    assert not home.exists(), "Prefect was started"
