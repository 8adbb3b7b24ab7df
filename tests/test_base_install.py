"""What another team needs is the base install alone: numpy, polars, pyarrow and a few small packages."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

REPOSITORY = Path(__file__).resolve().parent.parent

# The packages of the extras, as they are imported.
HEAVY = (
    "av", "fastapi", "ffmpeg", "ftfy", "imageio_ffmpeg", "jinja2", "PIL", "prefect", "safetensors", "sklearn", "scipy",
    "sqlalchemy", "torch", "transformers", "webdataset", "xxhash", "pandas", "duckdb", "hypothesis", "pytest",
    "py3langid", "charset_normalizer", "prometheus_client",
)  # fmt: skip

BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"not in the base install: {{name}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def run_with_base_install(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + program], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    audio = FeatureSchema(feature="audio-made@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=8)
    text = FeatureSchema(feature="text-made@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4)
    make_sample_store(folder / "store", [SampleFeature(schema=audio, max_steps=5), SampleFeature(schema=text)])
    (folder / "mmpipe.toml").write_text('store = "store"\n[corpora.sample]\nroot = "."\n', encoding="utf-8")
    return folder


def test_the_blocker_blocks(tmp_path: Path) -> None:
    assert "not in the base install" in run_with_base_install("import torch", tmp_path).stderr


def test_the_list_of_heavy_packages_is_complete() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {entry.partition(">")[0].partition("=")[0] for entry in project["optional-dependencies"]["pipeline"]}
    imported = {
        "ffmpeg-python": "ffmpeg",
        "imageio-ffmpeg": "imageio_ffmpeg",
        "charset-normalizer": "charset_normalizer",
        "pillow": "PIL",
        "prometheus-client": "prometheus_client",
        "scikit-learn": "sklearn",
    }
    assert {imported.get(name, name) for name in names} <= set(HEAVY)


def test_features_are_read(store: Path) -> None:
    program = "import mmpipe; reader = mmpipe.open('store'); print(len(reader.gather([0, 1]).keys))"
    done = run_with_base_install(program, store)
    assert done.stdout.strip() == "2", done.stderr


@pytest.mark.parametrize("verb", ["extract", "train", "run", "predict x.wav"])
def test_the_verbs_that_make_say_what_to_install(store: Path, verb: str) -> None:
    program = f"sys.argv = ['mmpipe', *{verb.split()!r}]\nfrom mmpipe.cli import main\nmain()"
    done = run_with_base_install(program, store)
    assert done.returncode == 3
    assert "mmpipe[pipeline]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["ls", "verify", "models ls", "quarantine ls", "--help"])
def test_the_verbs_that_look_work(store: Path, verb: str) -> None:
    program = f"sys.argv = ['mmpipe', *{verb.split()!r}]\nfrom mmpipe.cli import main\nmain()"
    done = run_with_base_install(program, store)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
