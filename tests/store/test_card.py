from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmpipe.errors import ConfigError
from mmpipe.store.card import read_heads, write_card
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.sample import SampleFeature, make_sample_store, sample_value
from mmpipe.store.schema import freeze_schema, read_schema, schema_digest
from mmpipe.store.snippets import shard_braces
from mmpipe.types import FeatureKind, FeatureSchema, Modality

AUDIO = SampleFeature(
    schema=FeatureSchema(
        feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=6, description="Loudness."
    ),
    max_steps=9,
    missing=0.4,
)
TEXT = SampleFeature(
    schema=FeatureSchema(feature="text-toy@3", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=5), missing=0.2
)
DAYS = ("2026-11-19", "2026-11-20")
TOOLS = {
    "audio-toy@1": ["webdataset", "polars", "duckdb", "pandas", "pyarrow", "numpy"],
    "text-toy@3": ["polars", "duckdb", "pandas", "pyarrow", "numpy"],
}

RUN = """
import json, sys
for name in ("mmpipe", "benchmarks"):
    sys.modules[name] = None  # an import of it fails
import numpy as np
programs = json.load(sys.stdin)
found = {}
for tool, program in programs.items():
    space = {}
    exec(program, space)
    for key, value in space["values"].items():
        found[f"{tool}/{key}"] = np.asarray(value)
        assert found[f"{tool}/{key}"].dtype == np.float32, (tool, found[f"{tool}/{key}"].dtype)
np.savez(sys.argv[1], **found)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("card") / "store"
    # With one clip in a shard, shards whose clip lacks the feature leave gaps in the numbers.
    make_sample_store(path, [AUDIO, TEXT], partitions=DAYS, shards=7, shard_clips=1)
    return path


def dataset_of(root: Path, feature: SampleFeature) -> DatasetLayout:
    name = feature.schema.feature
    return DatasetLayout(root=root / "sample" / name, corpus="sample", name=name)


@pytest.mark.parametrize("feature", [AUDIO, TEXT], ids=["tar", "vectors"])
def test_every_program_of_the_readme_reads_exact_values_without_us(
    root: Path, feature: SampleFeature, tmp_path: Path
) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("webdataset")
    dataset = dataset_of(root, feature)
    readme = (dataset.root / "README.md").read_text()
    programs = dict(re.findall(r"^### (\w+)\n\n```python\n(.*?)```", readme, re.DOTALL | re.MULTILINE))
    assert list(programs) == TOOLS[feature.schema.feature]
    result = tmp_path / "values.npz"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", RUN, str(result)],
        cwd=dataset.root,
        input=json.dumps(programs),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    newest = read_heads(dataset)[-1]
    with np.load(result) as found:
        keys = {name.partition("/")[2] for name in found.files}
        assert len(keys) == newest.samples > 1
        assert len(found.files) == len(programs) * len(keys)
        for name in found.files:
            expected = sample_value(feature, name.partition("/")[2])
            assert expected is not None
            assert np.array_equal(found[name], expected.array), name


def test_brace_string_names_exactly_the_tars(root: Path) -> None:
    braceexpand = pytest.importorskip("braceexpand")
    dataset = dataset_of(root, AUDIO)
    readme = (dataset.root / "README.md").read_text()
    for day in DAYS:
        (braces,) = re.findall(rf"^\| {day} .*`(data/\S+)` \|$", readme, re.MULTILINE)
        there = sorted(str(path.relative_to(dataset.root)) for path in dataset.data(day).iterdir())
        assert sorted(braceexpand.braceexpand(braces)) == there
    assert len(there) < 7


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ([0, 1, 2], "{000000..000002}"),
        ([5], "000005"),
        ([0, 1, 3, 7, 8], "{{000000..000001},000003,{000007..000008}}"),
    ],
)
def test_braces_leave_gaps_out(numbers: list[int], name: str) -> None:
    assert shard_braces("2026-11-20", numbers) == f"data/dt=2026-11-20/{name}.tar"


def test_card_is_written_once_and_is_the_same_elsewhere(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    make_sample_store(other, [TEXT, AUDIO], partitions=DAYS, shards=7, shard_clips=1)
    for feature in (AUDIO, TEXT):
        dataset = dataset_of(root, feature)
        for name in ("README.md", "croissant.json", "schema.json"):
            assert (dataset.root / name).read_bytes() == (dataset_of(other, feature).root / name).read_bytes()
        assert not write_card(dataset, feature.schema)


@pytest.mark.parametrize("feature", [AUDIO, TEXT], ids=["tar", "vectors"])
def test_croissant_describes_columns_that_are_there(root: Path, feature: SampleFeature) -> None:
    polars = pytest.importorskip("polars")
    dataset = dataset_of(root, feature)
    description = json.loads((dataset.root / "croissant.json").read_bytes())
    rows = next(files for files in description["distribution"] if files["@id"] == "rows")
    columns = polars.read_parquet(dataset.root / rows["includes"], hive_partitioning=False).columns
    assert [field["source"]["extract"]["column"] for field in description["recordSet"][0]["field"]] == columns
    assert description["datePublished"] == DAYS[-1]
    for files in description["distribution"]:
        assert list(dataset.root.glob(files["includes"]))


def test_schema_is_frozen(root: Path) -> None:
    dataset = dataset_of(root, TEXT)
    wider = FeatureSchema(feature="text-toy@3", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=6)
    with pytest.raises(ConfigError, match=r"\[6\].*frozen at.*\[5\].*bump the extractor's version"):
        freeze_schema(dataset, wider)
    with pytest.raises(ConfigError):
        write_card(dataset, wider)
    assert read_schema(dataset) == TEXT.schema
    assert read_heads(dataset)[0].schema == schema_digest(TEXT.schema)


def test_rewording_the_description_is_no_new_version(root: Path) -> None:
    reworded = FeatureSchema(
        feature="text-toy@3", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=5, description="Other words."
    )
    assert freeze_schema(dataset_of(root, TEXT), reworded) == TEXT.schema
