from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmpipe.config import parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.share.export import Target, plan_export, write_export
from mmpipe.store.layout import StoreLayout
from mmpipe.store.rights import Rights
from mmpipe.store.sample import SampleFeature, make_sample_store, sample_value
from mmpipe.store.snapshot import Snapshot, read_pinned_spine, save_snapshot, take_snapshot
from mmpipe.types import FeatureKind, FeatureSchema, Modality

AUDIO = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=6),
    max_steps=9,
    missing=0.4,
)
TEXT = SampleFeature(
    schema=FeatureSchema(feature="text-toy@3", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=5), missing=0.2
)
FEATURES = (AUDIO, TEXT)
NOBODYS = SampleFeature(
    schema=FeatureSchema(feature="image-toy@1", modality=Modality.IMAGE, kind=FeatureKind.VECTOR, dim=5), missing=1.0
)
BLOCK = "import sys\nsys.modules['mmpipe'] = None  # an import of it fails\n"

# Each ends with `found`: from (key, feature) to the array, None where the clip lacks it; and the columns it saw.
READ = {
    "webdataset": """
import webdataset as wds
from pathlib import Path
found, times = {}, 0
for tar in sorted(Path().glob("*.tar")):
    for sample in wds.WebDataset(str(tar), shardshuffle=False).decode():
        members = {name for name in sample if not name.startswith("__")}
        assert members == {"audio-toy@1.npy", "audio-toy@1.times.npy", "text-toy@3.npy", "json"}, members
        clip = sample["json"]
        assert clip["key"] == sample["__key__"] and clip["labels"]["class"].startswith("class-")
        assert len(sample["audio-toy@1.times.npy"]) == len(sample["audio-toy@1.npy"])
        for name, there in clip["present"].items():
            assert there == (sample[f"{name}.npy"].size > 0)
            found[clip["key"], name] = sample[f"{name}.npy"] if there else None
columns = ["__key__", *members, *(f'json["{name}"]' for name in clip)]
""",
    "parquet": """
import polars as pl
import pyarrow.parquet as pq
from pathlib import Path
rows = pl.read_parquet("data/*.parquet")
assert rows["labels"].struct.field("class").str.starts_with("class-").all()
found = {(row["key"], name): row[name] for row in rows.iter_rows(named=True) for name in ("audio-toy@1", "text-toy@3")}
columns = rows.columns
tables = [pq.ParquetFile(path).read() for path in sorted(Path("data").iterdir())]
assert sum(table["text-toy@3"].null_count for table in tables) == rows["text-toy@3"].null_count() > 0
""",
    "lance": """
import lance
from pathlib import Path
found = {}
for folder in sorted(Path().glob("*.lance")):
    columns = lance.dataset(str(folder)).schema.names
    for row in lance.dataset(str(folder)).to_table().to_pylist():
        found.update({(row["key"], name): row[name] for name in ("audio-toy@1", "text-toy@3")})
""",
    "hf": """
from pathlib import Path
from datasets import load_dataset
clips = load_dataset(str(Path.cwd()))
assert set(clips) == {"train", "validation", "test"}
found, columns = {}, clips["train"].column_names
for split in clips.values():
    for row in split:
        found.update({(row["key"], name): row[name] for name in ("audio-toy@1", "text-toy@3")})
""",
}
SAVE = """
import numpy as np
there = {f"{key}/{name}": np.asarray(value, "float32") for (key, name), value in found.items() if value is not None}
print(*sorted(columns))
np.savez(sys.argv[1], missing=sum(value is None for value in found.values()), **there)
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> StoreLayout:
    path = tmp_path_factory.mktemp("export") / "store"
    return make_sample_store(
        path, (*FEATURES, NOBODYS), partitions=("2026-11-19", "2026-11-20"), shards=3, shard_clips=5
    )


def export(layout: StoreLayout, target: str, out: Path, shard_clips: int = 4, **choice) -> Snapshot:
    config = parse_config({"store": str(layout.root), "corpora": {"sample": {"root": "."}}})
    plan = plan_export(config, "sample", Target(target), out, **choice)
    write_export(plan, shard_clips)
    return plan.snapshot


@pytest.mark.parametrize("target", list(READ))
def test_others_read_exact_values_of_every_clip(layout: StoreLayout, tmp_path: Path, target: str) -> None:
    for package in {"webdataset": ["webdataset"], "hf": ["datasets"], "lance": ["lance"]}.get(target, []):
        pytest.importorskip(package)
    snapshot = export(layout, target, tmp_path / "out")
    result = tmp_path / "found.npz"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", BLOCK + READ[target] + SAVE, str(result)],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "huggingface")},
    )
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    table = card.split("## Columns")[1].split("## Whose")[0]
    assert done.stdout.split() == sorted(re.findall(r"^\| `(\S+)` \|", table, re.MULTILINE))
    assert "\nThe labels are: class.\n" in table
    assert "Left out, because no clip has a value: `image-toy@1`" in card and "`image-toy@1`" not in table
    keys = read_pinned_spine(layout, snapshot)["key"].to_list()
    expected = {f"{key}/{feature.schema.feature}": sample_value(feature, key) for key in keys for feature in FEATURES}
    with np.load(result) as found:
        assert found["missing"] == sum(value is None for value in expected.values()) > 0
        assert len(found.files) - 1 == sum(value is not None for value in expected.values())
        for name, value in expected.items():
            assert value is None or np.array_equal(found[name], value.array), name


@pytest.mark.parametrize("target", ["webdataset", "parquet", "lance", "hf"])
def test_the_card_says_whose_the_clips_are(layout: StoreLayout, tmp_path: Path, target: str) -> None:
    if target == "lance":
        pytest.importorskip("lance")
    config = parse_config({"store": str(layout.root), "corpora": {"sample": {"root": "."}}})
    plan = plan_export(config, "sample", Target(target), tmp_path / "one")
    said = Rights(owner="Speech team", licence="CC-BY-4.0", pii="no", consent="yes")
    assets = plan.reader.spine["asset_id"].to_list()
    one = replace(plan, rights=dict.fromkeys(assets, said), corpus_rights=Rights(contact="me@example.org"))
    write_export(one, 100)
    card = (tmp_path / "one" / "README.md").read_text()
    for name, value in (("owner", said.owner), ("licence", said.licence), ("consent", "yes"), ("personal data", "no")):
        assert f"| {name} | {value} |\n" in card
    assert "| contact | me@example.org |\n" in card
    assert card.startswith("---\nlicense: cc-by-4.0\nconfigs:") is (target == "hf")
    write_export(replace(one, out=tmp_path / "two", rights={assets[0]: said}), 100)
    card = (tmp_path / "two" / "README.md").read_text()
    assert "license:" not in card and "| owner | not said (29), Speech team (1) |\n" in card


@pytest.mark.parametrize("target", ["webdataset", "parquet", "hf"])
def test_the_program_on_the_card_runs(layout: StoreLayout, tmp_path: Path, target: str) -> None:
    pytest.importorskip("datasets")
    pytest.importorskip("webdataset")
    export(layout, target, tmp_path / "out")
    (program,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    line = [sys.executable, "-I", "-W", "ignore", "-c", BLOCK + program]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "huggingface")}
    done = subprocess.run(line, cwd=tmp_path / "out", capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["webdataset", "parquet", "hf"])
def test_the_same_snapshot_gives_the_same_bytes_and_the_record_names_them(
    layout: StoreLayout, tmp_path: Path, target: str
) -> None:
    snapshot = export(layout, target, tmp_path / "one")
    export(layout, target, tmp_path / "two")
    one, two = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    record = json.loads(one["export.json"])
    assert record["snapshot"] == snapshot.digest and one["snapshot.json"] == snapshot.to_bytes()
    assert set(one) == {"README.md", "export.json", "snapshot.json", *record["files"]}
    for name, file in record["files"].items():
        assert (file["nbytes"], file["sha256"]) == (len(one[name]), hashlib.sha256(one[name]).hexdigest())
    assert sum(file["clips"] for file in record["files"].values()) == 30
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_snapshot_a_split_and_a_feature_are_chosen(layout: StoreLayout, tmp_path: Path) -> None:
    snapshot = take_snapshot(layout, "sample", ["text-toy@3"], ["2026-11-19"])
    save_snapshot(layout, snapshot)
    export(layout, "webdataset", tmp_path / "out", snapshot=snapshot.digest, splits=["val"], features=["text-toy@3"])
    spine = read_pinned_spine(layout, snapshot)
    keys = []
    for path in sorted((tmp_path / "out").glob("*.tar")):
        assert path.name.startswith("val-")
        with tarfile.open(path) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.mode) == (0, 0, 0o644)
                if member.name.endswith(".json"):
                    keys.append(json.loads(tar.extractfile(member).read())["key"])
                else:
                    assert member.name.split(".", 1)[1] == "text-toy@3.npy"
                    np.load(io.BytesIO(tar.extractfile(member).read()), allow_pickle=False)
    assert sorted(keys) == sorted(spine.filter(split="val")["key"])


def test_what_is_there_is_never_mixed_with(layout: StoreLayout, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(ConfigError, match="not empty"):
            export(layout, "parquet", out)
    (tmp_path / "empty").mkdir()
    export(layout, "parquet", tmp_path / "empty")
    with pytest.raises(ConfigError, match="is of 'sample'"):
        config = parse_config({"store": str(layout.root), "corpora": {"other": {"root": "."}}})
        digest = take_snapshot(layout, "sample", ["text-toy@3"])
        save_snapshot(layout, digest)
        plan_export(config, "other", Target.PARQUET, tmp_path / "new", snapshot=digest.digest)


def test_a_failure_leaves_nothing(layout: StoreLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmpipe.export.parquet.pq.write_table", fail)
    with pytest.raises(OSError, match="No space"):
        export(layout, "parquet", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_lance_says_what_to_install(layout: StoreLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(ConfigError, match=r"mmpipe\[lance\]"):
        export(layout, "lance", tmp_path / "out")
    assert not list(tmp_path.iterdir())
