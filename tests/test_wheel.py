"""What is shipped: a wheel of `mmpipe` alone, an sdist that builds the same, and an environment that it works in."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
BASE = {name.partition(">")[0] for name in PROJECT["dependencies"]}
pytest.importorskip("hatchling", reason="it builds wheels")


def build(source: Path, out: Path, *targets: str) -> None:
    chosen = [word for target in targets for word in ("-t", target)]
    line = [sys.executable, "-m", "hatchling", "build", *chosen, "-d", str(out)]
    subprocess.run(line, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, of the same files."""
    folder = tmp_path_factory.mktemp("dist")
    build(REPOSITORY, folder, "sdist", "wheel")
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (file,) = dist.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    (file,) = dist.glob("*.tar.gz")
    return file


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(f"mmpipe-{PROJECT['version']}.dist-info/METADATA"))


def contents(wheel: Path) -> dict[str, str]:
    """Return every file of a wheel with its digest, but for the list of them."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
    return {name: digest for name, digest in files.items() if not name.endswith("/RECORD")}


def test_the_wheel_brings_one_name_and_all_that_it_reads(wheel: Path) -> None:
    names = set(contents(wheel))
    assert {name.partition("/")[0] for name in names} == {"mmpipe", f"mmpipe-{PROJECT['version']}.dist-info"}
    kept = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "mmpipe").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("mmpipe/")} == kept
    assert "mmpipe/py.typed" in kept
    assert {Path(name).suffix for name in kept} >= {".py", ".j2", ".tmpl"}


def test_the_wheel_says_what_it_is(wheel: Path, metadata: Message) -> None:
    assert (metadata["Name"], metadata["License-Expression"]) == ("mmpipe", "Apache-2.0")
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert metadata["Requires-Python"] == "<3.15,>=3.11"
    assert set(metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert metadata.get_all("Project-URL") is None, "no address that nobody answers at"
    versions = {name.rpartition(" ")[2] for name in metadata.get_all("Classifier") or () if "Python :: 3." in name}
    assert versions == {"3.11", "3.12", "3.13", "3.14"}
    assert "Typing :: Typed" in (metadata.get_all("Classifier") or ())
    names = contents(wheel)
    assert f"mmpipe-{PROJECT['version']}.dist-info/licenses/LICENSE" in names
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.read(f"mmpipe-{PROJECT['version']}.dist-info/entry_points.txt").decode()
    assert entries.split() == ["[console_scripts]", "mmpipe", "=", "mmpipe.cli:main"]


def test_the_sdist_builds_the_same_wheel_and_holds_no_more_than_it_needs(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    told = {"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "PKG-INFO", "constraints.txt", "pyproject.toml"}
    assert {path.name for path in source.iterdir()} - {".gitignore"} == {"mmpipe", *told}
    build(source, tmp_path, "wheel")
    assert contents(tmp_path / wheel.name) == contents(wheel)


SMOKE = """
import json, sys
sys.path.append(sys.argv[1])  # what the wheel asks for, from where it is installed already
import mmpipe
print(json.dumps([mmpipe.__file__, len(mmpipe.open(sys.argv[2]).gather([0, 1]).keys)]))
"""


@pytest.mark.slow
def test_a_new_environment_runs_the_wheel_and_finds_nothing_else_of_ours(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "-q"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    (site,) = (home / "lib").glob("python*/site-packages")
    assert {path.name for path in site.iterdir()} == {"mmpipe", wheel.name.partition("-py3")[0] + ".dist-info"}

    schema = FeatureSchema(feature="text-made@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4)
    make_sample_store(tmp_path / "store", [SampleFeature(schema=schema)])
    (tmp_path / "mmpipe.toml").write_text('store = "store"\n[corpora.sample]\nroot = "."\n', encoding="utf-8")
    others = str(Path(pytest.__file__).parent.parent)

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env={})
        assert done.returncode == 0, done.stderr
        return done.stdout

    file, count = json.loads(run(str(home / "bin" / "python"), "-c", SMOKE, others, str(tmp_path / "store")))
    assert Path(file).is_relative_to(home) and count == 2
    (site / "others.pth").write_text(others + "\n", encoding="utf-8")
    command = str(home / "bin" / "mmpipe")
    assert run(command, "--version") == f"mmpipe {PROJECT['version']}\n"
    assert "text-made@1" in run(command, "ls", "--json")
    assert "mmpipe-audio-rhythm" in run(command, "new", "extractor", "audio-rhythm", "--dry-run")
    missing = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('flows', 'tasks', 'deployments'))))"
    run(str(home / "bin" / "python"), "-c", missing)
