"""`mmpipe new`: packages that work as they are written, names that are refused, folders that are never touched."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mmpipe.errors import ConfigError
from mmpipe.plugins import PluginKind
from mmpipe.starters.package import render_starter
from mmpipe.steps.extend.new import plan_new, write_new
from mmpipe.types import Modality

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))
from plugin_site import install  # noqa: E402

PACKAGES = (
    *((PluginKind.EXTRACTOR, f"{modality}-rhythm") for modality in Modality),
    (PluginKind.FUSION, "soft_vote"),
    (PluginKind.SOURCE, "photo-shelf"),
)
ASK = """
import json, sys
from mmpipe.features.registry import make_extractor
from mmpipe.fusion.facts import fusion_facts
from mmpipe.steps.tell.config_keys import find_keys
told = {name: make_extractor(name).schema.feature for name in sys.argv[1:]}
facts = fusion_facts("soft_vote")
told["keys"] = [key.key for name in sys.argv[1:] for key in find_keys(f"features.{name}")]
told["options"] = [key.description for key in find_keys("corpora.source.options")]
told["fusion"] = [facts.formula, facts.use, *(key.key for key in facts.options)]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of package, written."""
    folder = tmp_path_factory.mktemp("made") / "deeper"
    for kind, name in PACKAGES:
        write_new(plan_new(kind, name, None, folder)[0], folder)
    return folder


@pytest.fixture(scope="module")
def environment(made: Path) -> dict[str, str]:
    """The same packages, installed."""
    site = made.parent / "site"
    for package in sorted(made.iterdir()):
        install(site, package)
    return {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}", "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_folder_holds_a_package_and_nothing_else(made: Path) -> None:
    assert len(list(made.iterdir())) == len(PACKAGES)
    folder = made / "mmpipe-audio-rhythm"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "README.md",
        "mmpipe_audio_rhythm.py",
        "pyproject.toml",
        "tests/golden/audio-rhythm@1.json",
        "tests/test_mmpipe_audio_rhythm.py",
    }
    for path in made.rglob("*"):
        assert not path.is_file() or "$" not in path.read_text(), path
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {
        "mmpipe.extractors": {"audio-rhythm": "mmpipe_audio_rhythm:AudioRhythmExtractor"}
    }


@pytest.mark.slow
def test_the_tests_of_every_package_pass_at_once(made: Path, environment: dict[str, str]) -> None:
    line = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--import-mode=importlib", str(made)]
    done = subprocess.run(line, env=environment, cwd=made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{2 * (len(PACKAGES) - 1) + 1} passed" in done.stdout


def test_what_they_bring_is_known_to_the_config_and_to_the_fusions(environment: dict[str, str]) -> None:
    names = [name for kind, name in PACKAGES if kind is PluginKind.EXTRACTOR]
    done = subprocess.run(
        [sys.executable, "-c", ASK, *names], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {name: told[name] for name in names} == {name: f"{name}@1" for name in names}
    assert {"features.audio-rhythm.window_s", "features.text-rhythm.long_letters"} <= set(told["keys"])
    assert "of the source photo-shelf: folder below root that holds the objects" in told["options"]
    formula, use, option = told["fusion"]
    assert (
        formula.startswith("z = ") and use.startswith("Use it ") and option.endswith("fusion_options.soft_vote.scale")
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((PluginKind.EXTRACTOR, f"{modality}-{word}") for modality in Modality for word in ("clip", "needs")),
        *((PluginKind.EXTRACTOR, name) for name in ("audio-table", "image-extractor")),
        *((PluginKind.FUSION, name) for name in ("fusion_output", "model_spec", "table", "none", "fusion")),
        *((PluginKind.SOURCE, name) for name in ("path", "table", "source-object", "binary-io")),
    ],
)
def test_a_name_never_hides_what_its_module_imports(kind: PluginKind, name: str, tmp_path: Path) -> None:
    starter, _ = plan_new(kind, name, None, tmp_path)
    tree = ast.parse(render_starter(starter)[f"{starter.module}.py"])
    imported = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported.isdisjoint(node.name for node in tree.body if isinstance(node, ast.ClassDef))


@pytest.mark.slow
def test_a_package_is_installed_as_it_is(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="packages are built by it, and nothing is downloaded")
    line = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path)]
    subprocess.run([sys.executable, *line, str(made / "mmpipe-audio-rhythm")], check=True, capture_output=True)
    top = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert top == {"mmpipe_audio_rhythm.py", "mmpipe_audio_rhythm-0.1.0.dist-info"}


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (PluginKind.EXTRACTOR, "audio-logmel", "is there already"),
        (PluginKind.EXTRACTOR, "rhythm", "begin its name with video, audio, image, text, array"),
        (PluginKind.EXTRACTOR, "audio-../up", "is no name of an extractor"),
        (PluginKind.EXTRACTOR, "Audio-loud", "is no name of an extractor"),
        (PluginKind.FUSION, "soft-vote", "is no name of a fusion"),
        (PluginKind.FUSION, "concat", "is there already"),
        (PluginKind.FUSION, "lambda", "is a word of Python's own"),
        (PluginKind.SOURCE, "3d", "would be the class '3dSource'"),
        (PluginKind.SOURCE, "", "is no name of a source"),
        (PluginKind.SOURCE, "a" * 64, "is no name of a source"),
        (PluginKind.SOURCE, "tëst", "is no name of a source"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(kind: PluginKind, name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        plan_new(kind, name, None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_modality_is_said_or_read_from_the_name_and_is_for_extractors_alone(tmp_path: Path) -> None:
    starter, files = plan_new(PluginKind.EXTRACTOR, "rhythm", Modality.VIDEO, tmp_path)
    assert "VideoNeeds" in render_starter(starter)["mmpipe_rhythm.py"]
    assert "tests/golden/rhythm@1.json" in files
    with pytest.raises(ConfigError, match="a fusion reads no media"):
        plan_new(PluginKind.FUSION, "soft_vote", Modality.AUDIO, tmp_path)


def test_a_package_named_as_what_it_imports_is_written_with_its_golden(tmp_path: Path) -> None:
    folder = write_new(plan_new(PluginKind.EXTRACTOR, "image-clip", None, tmp_path)[0], tmp_path)
    assert (folder / "tests" / "golden" / "image-clip@1.json").is_file()


@pytest.mark.parametrize("lying", ["folder", "file", "link"])
def test_what_is_there_is_never_touched(tmp_path: Path, lying: str) -> None:
    place = tmp_path / "mmpipe-soft-vote"
    if lying == "folder":
        place.mkdir()
    elif lying == "file":
        place.write_text("mine")
    else:
        place.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="is there already, and is not touched"):
        plan_new(PluginKind.FUSION, "soft_vote", None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mmpipe-soft-vote"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    starter, _ = plan_new(PluginKind.FUSION, "soft_vote", None, tmp_path)
    with pytest.raises(ConfigError, match=r"cannot write to .*Name another folder by --into"):
        write_new(starter, tmp_path / "file" / "below")
