from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmpipe.errors import ConfigError
from mmpipe.store import history
from mmpipe.store.card import read_heads, write_card
from mmpipe.store.commit import commit_partition
from mmpipe.store.deprecation import Deprecation, read_deprecation, write_deprecation
from mmpipe.store.identity import Identity, note_identity
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.revisions import read_head
from mmpipe.store.rights import Rights, write_rights
from mmpipe.store.sample import (
    SampleFeature,
    make_sample_store,
    sample_value,
)
from mmpipe.store.schema import freeze_schema, read_schema, schema_digest
from mmpipe.store.snippets import shard_braces
from mmpipe.store.spine import SPINE
from mmpipe.store.spinecard import MEANING, write_spine_card
from mmpipe.store.verify import verify_store
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
HALF_AUDIO = replace(AUDIO, schema=replace(AUDIO.schema, feature="audio-half@1", dtype="float16"))
HALF_TEXT = replace(TEXT, schema=replace(TEXT.schema, feature="text-half@1", dtype="float16"))
DAYS = ("2026-11-19", "2026-11-20")
TOOLS = {
    FeatureKind.SEQUENCE: ["webdataset", "polars", "duckdb", "pandas", "pyarrow", "numpy", "datasets", "torch"],
    FeatureKind.VECTOR: ["polars", "duckdb", "pandas", "pyarrow", "numpy", "datasets", "torch"],
}

RUN = """
import json, os, sys
for name in ("mmpipe", "benchmarks"):
    sys.modules[name] = None  # an import of it fails
import numpy as np
found = {}
for folder, dtype, programs in json.load(sys.stdin):
    os.chdir(folder)
    for tool, program in programs.items():
        space = {}
        exec(program, space)
        for key, value in space["values"].items():
            array = np.asarray(value)
            assert array.dtype == dtype, (folder, tool, array.dtype)
            found[f"{os.path.basename(folder)}/{tool}/{key}"] = array
np.savez(sys.argv[1], **found)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("card") / "store"
    # With one clip in a shard, shards whose clip lacks the feature leave gaps in the numbers.
    make_sample_store(path, [AUDIO, TEXT, HALF_AUDIO, HALF_TEXT], partitions=DAYS, shards=7, shard_clips=1)
    return path


def dataset_of(root: Path, feature: SampleFeature) -> DatasetLayout:
    name = feature.schema.feature
    return DatasetLayout(root=root / "sample" / name, corpus="sample", name=name)


def offline(folder: Path) -> dict[str, str]:
    """An environment in which no consumer asks the network, and what it caches goes away with the test."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "huggingface")}


def test_every_program_of_the_readme_reads_exact_values_without_us(root: Path, tmp_path: Path) -> None:
    for name in ("duckdb", "webdataset", "datasets", "torch"):
        pytest.importorskip(name)
    features = (AUDIO, TEXT, HALF_AUDIO, HALF_TEXT)
    jobs = []
    for feature in features:
        dataset = dataset_of(root, feature)
        readme = (dataset.root / "README.md").read_text()
        programs = dict(re.findall(r"^### (\w+)\n\n```python\n(.*?)```", readme, re.DOTALL | re.MULTILINE))
        assert list(programs) == TOOLS[feature.schema.kind]
        jobs.append((str(dataset.root), feature.schema.dtype, programs))
    result = tmp_path / "values.npz"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", RUN, str(result)],
        env=offline(tmp_path),
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(result) as found:
        names = [name.split("/") for name in found.files]
        for feature in features:
            newest = read_heads(dataset_of(root, feature))[-1]
            mine = [(tool, key) for name, tool, key in names if name == feature.schema.feature]
            keys = {key for _, key in mine}
            assert len(keys) == newest.samples > 1
            assert len(mine) == len(TOOLS[feature.schema.kind]) * len(keys)
            for tool, key in mine:
                expected = sample_value(feature, key)
                assert expected is not None
                assert np.array_equal(found[f"{feature.schema.feature}/{tool}/{key}"], expected.array), (tool, key)


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


def test_a_commit_reads_one_partition_and_not_every_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [f"2026-{month:02d}-{day:02d}" for month in (1, 2) for day in (1, 28)] + ["2025-03-01"]
    make_sample_store(tmp_path / "store", [TEXT], partitions=sorted(days), shards=1, shard_clips=2)
    dataset = dataset_of(tmp_path / "store", TEXT)
    read: list[str] = []
    monkeypatch.setattr(history, "read_head", lambda *place: read.append(place[1]) or read_head(*place))
    assert not write_card(dataset, TEXT.schema, touched=("2026-02-28",))
    assert read == ["2026-02-28"]
    # What somebody else committed in the same year, and lost from the card, is seen by its number.
    kept = dataset.root / "statistics" / "2026.json"
    rows = json.loads(kept.read_bytes())
    right = kept.read_bytes()
    rows[0] |= {"revision": 7, "clips": 99}
    kept.write_text(json.dumps(rows))
    assert write_card(dataset, TEXT.schema, touched=("2026-02-28",))
    assert kept.read_bytes() == right
    kept.write_text("[{")
    assert write_card(dataset, TEXT.schema, touched=("2025-03-01",))
    assert kept.read_bytes() == right
    assert not write_card(dataset, TEXT.schema)
    readme = (dataset.root / "README.md").read_text()
    assert readme.count("\n| 2026-") == 4 and f"{len(days)} partitions, newest 2026-02-28" in readme


def test_figures_beside_the_card_are_what_the_values_are(root: Path) -> None:
    polars = pytest.importorskip("polars")
    dataset = dataset_of(root, AUDIO)
    figures = polars.read_json(dataset.root / "statistics" / "2026.json")
    assert figures["partition"].to_list() == list(DAYS)
    for row, head in zip(figures.iter_rows(named=True), read_heads(dataset), strict=True):
        keys = polars.read_parquet(dataset.index(head.partition) / "*.parquet")["key"]
        norms = [np.linalg.norm(sample_value(AUDIO, key).array.astype(np.float64)) for key in keys]
        assert row["clips"] == len(keys) == head.samples
        assert row["norm_mean"] == pytest.approx(np.mean(norms), rel=1e-4)
        assert (row["norm_min"], row["norm_max"]) == pytest.approx((min(norms), max(norms)), rel=1e-4)
        assert row["absent"] == 7 - len(keys) and row["num_zero"] == row["num_nan"] == 0


def test_the_changelog_says_what_each_revision_did(tmp_path: Path) -> None:
    make_sample_store(tmp_path / "store", [TEXT])
    dataset = dataset_of(tmp_path / "store", TEXT)
    (head,) = read_heads(dataset)
    shards = {0: head.shards[0]}
    commit_partition(
        dataset, head.partition, schema=head.schema, fingerprint=head.fingerprint, shards=shards, replace=True
    )
    write_card(dataset, TEXT.schema, touched=(head.partition,))
    changes = (dataset.root / "CHANGELOG.md").read_text()
    assert f"- revision 2: shards: 1 removed; {head.samples} -> {head.shards[0].samples} clips\n" in changes
    assert f"- revision 1: {head.samples} clips in 2 shards\n" in changes


def test_one_of_a_thing_is_said_as_one(tmp_path: Path) -> None:
    make_sample_store(tmp_path / "store", [TEXT], shards=1, shard_clips=1)
    dataset = dataset_of(tmp_path / "store", TEXT)
    assert "- revision 1: 1 clip in 1 shard\n" in (dataset.root / "CHANGELOG.md").read_text()
    assert "\n1 clip in 1 partition, newest 2026-11-20." in (dataset.root / "README.md").read_text()


def test_rights_and_notice_are_on_the_card_and_in_the_description(tmp_path: Path) -> None:
    layout = make_sample_store(tmp_path / "store", [TEXT])
    dataset = dataset_of(tmp_path / "store", TEXT)
    assert "| licence | not said |" in (dataset.root / "README.md").read_text()
    rights = Rights(owner="Speech | team", contact="speech@example.org", licence="CC-BY-4.0", pii="yes")
    assert write_rights(layout, "sample", rights) and not write_rights(layout, "sample", rights)
    write_deprecation(dataset, Deprecation(use="text-toy@4", until="2027-05-01", reason="Four reads accents."))
    assert write_card(dataset, TEXT.schema)
    readme = (dataset.root / "README.md").read_text()
    assert r"| owner | Speech \| team |" in readme and 'license_name: "CC-BY-4.0"' in readme
    assert "> **Deprecated.** text-toy@3 is deprecated: Four reads accents. Use text-toy@4;" in readme
    description = json.loads((dataset.root / "croissant.json").read_bytes())
    assert description["license"] == "CC-BY-4.0" and description["creator"]["name"] == "Speech | team"
    write_deprecation(dataset, None)
    assert write_card(dataset, TEXT.schema) and read_deprecation(dataset) is None
    assert write_spine_card(layout.dataset("sample", "clips"))
    assert layout.corpora() == ("sample",) and verify_store(layout) == ()


def test_the_card_and_every_file_say_what_made_them(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    layout = make_sample_store(tmp_path / "store", [AUDIO, TEXT])
    for feature in (AUDIO, TEXT):
        dataset = dataset_of(tmp_path / "store", feature)
        (head,) = read_heads(dataset)
        name, _, version = feature.schema.feature.partition("@")
        identity = Identity(extractor=name, version=int(version), params={"bands": 8}, dtype="float32", weights="ab12")
        note_identity(dataset, head.fingerprint, identity)
        assert write_card(dataset, feature.schema, touched=(head.partition,))
        readme = (dataset.root / "README.md").read_text()
        for row in (f"extractor | {name}", f"fingerprint | `{head.fingerprint}`", "bands | 8", "weights | ab12"):
            assert f"{row} |" in readme
        files = list(dataset.root.glob("data/*/*.parquet")) or list(dataset.root.glob("index/*/*.parquet"))
        for file in files:
            facts = json.loads(parquet.read_metadata(file).metadata[b"mmpipe"])
            assert (facts["fingerprint"], facts["schema"]["feature"]) == (head.fingerprint, feature.schema.feature)
            assert facts["partition"] == head.partition and facts["schema_digest"] == head.schema
    assert "card_stale" not in {finding.code for finding in verify_store(layout)}


def test_the_changelog_names_the_parameters_that_changed(tmp_path: Path) -> None:
    make_sample_store(tmp_path / "store", [TEXT])
    dataset = dataset_of(tmp_path / "store", TEXT)
    (head,) = read_heads(dataset)
    identity = Identity(extractor="text-toy", version=3, params={"bands": 8}, dtype="float32", weights="")
    other = "f" * 64
    shards = {shard.number: shard for shard in head.shards}
    commit_partition(dataset, head.partition, schema=head.schema, fingerprint=other, shards=shards)
    write_card(dataset, TEXT.schema)
    said = (dataset.root / "CHANGELOG.md").read_text()
    assert f"- revision 2: made anew (by another extractor or with other parameters): {head.samples} -> " in said
    note_identity(dataset, head.fingerprint, identity)
    note_identity(dataset, other, replace(identity, params={"bands": 9}))
    write_card(dataset, TEXT.schema)
    assert "- revision 2: made anew (params: bands 8 -> 9): " in (dataset.root / "CHANGELOG.md").read_text()


def test_one_revision_is_pinned_without_us(root: Path) -> None:
    dataset = dataset_of(root, TEXT)
    (program,) = re.findall(r"## How to pin it.*?```python\n(.*?)```", (dataset.root / "README.md").read_text(), re.S)
    program = program.replace('Path("', f'Path("{dataset.root}/')
    space: dict[str, list[Path]] = {}
    exec(program, space)
    assert len(space["pinned"]) > 1
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in space["pinned"])


CROISSANT = """
import sys
for name in ("mmpipe", "benchmarks"):
    sys.modules[name] = None
import mlcroissant
for folder, rows in zip(sys.argv[1::2], sys.argv[2::2]):
    dataset = mlcroissant.Dataset(jsonld=f"{folder}/croissant.json")
    assert not dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.report()
    records = list(dataset.records("clips"))
    assert len(records) == int(rows), len(records)
    print(records[0]["clips/key"].decode(), len(records[0].get("clips/value", [])))
"""


def test_croissant_is_valid_and_gives_the_records(root: Path) -> None:
    pytest.importorskip("mlcroissant")
    datasets = [dataset_of(root, feature) for feature in (TEXT, AUDIO)]
    totals = [sum(head.samples for head in read_heads(dataset)) for dataset in datasets]
    words = [str(word) for pair in zip((dataset.root for dataset in datasets), totals, strict=True) for word in pair]
    line = [sys.executable, "-I", "-W", "ignore", "-c", CROISSANT, *words]
    done = subprocess.run(line, capture_output=True, text=True, cwd=root, env=offline(root.parent))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[a-z2-7]{24} 5\n[a-z2-7]{24} 0\n", done.stdout)


def test_the_clips_have_a_readme_that_runs(root: Path, tmp_path: Path) -> None:
    clips = root / "sample" / "clips"
    readme = (clips / "README.md").read_text()
    assert list(MEANING) == SPINE.names and all(f"| `{name}` |" in readme for name in SPINE.names)
    program = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    assert "class" not in program  # whatever the columns are, they come out
    program += "print(rows.height, labels.struct.fields, labels.struct.field('class').n_unique())"
    line = [sys.executable, "-I", "-c", "import sys; sys.modules['mmpipe'] = None\n" + program]
    done = subprocess.run(line, cwd=clips, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("14 ['class'] 3\n", "")
