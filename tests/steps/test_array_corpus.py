"""Numbers through the whole house: from sensor files and labels to features, a fused model, and being forgotten."""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import pytest
from corpus_maker import CORPUS, DT, LATER, OLD_S, drops, ingest, tree, write_text, write_tone
from typer.testing import CliRunner

from mmpipe.batches.aligned import AlignedReader
from mmpipe.cli.main import app
from mmpipe.config import Config, load_config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.ingest.init import propose_config
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.plan.ledger import read_ledger, wanted_features
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.train import train_model
from mmpipe.steps.train.training_set import open_training_set
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")
STATS, RAW = "array-stats@1", "array-raw@1"


def age(path: Path) -> Path:
    """Give a file an old time stamp that tells its content."""
    stamp_s = OLD_S + zlib.crc32(path.read_bytes()) % 1_000_000
    os.utime(path, (stamp_s, stamp_s))
    return path


def save(path: Path, numbers: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, numbers)
    age(path)


def config_of(folder: Path, models: dict[str, Any] | None = None, **corpus: Any) -> Config:
    corpus = {"arrays": {"suffixes": ["npy"], "rate_hz": 10}, "max_quarantined": 1.0, **corpus}
    table = {
        "store": str(folder / "store"),
        "engine": {"workers": 2},
        "corpora": {CORPUS: {"root": str(folder / "media"), **corpus}},
        "features": {"array-stats": {"columns": 2}, "array-raw": {"columns": 2}},
        "gate": {"draws": 300, "max_calibration_error": 1.0},
    }
    return parse_config(table | ({"models": models} if models else {}))


def run(config: Config, dt: str = DT) -> None:
    ingest(config, dt)
    extract_plan(config, plan_corpus(config, CORPUS))


def values(config: Config, feature: str) -> dict[str, np.ndarray]:
    """Return the rows of a feature by source and second at which the clip starts."""
    layout = StoreLayout(config.store)
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, (feature,)), (feature,))
    found = {}
    for row, place in enumerate(reader.spine.select("source_id", "start_ns").iter_rows()):
        part = reader.gather(np.array([row])).features[feature]
        if part.mask_BT.any():
            found[f"{place[0]} {place[1] / 1e9:g}"] = part.x_BTD[0][part.mask_BT[0]]
    return found


# --------------------------------------------------------------------------- from a file to a feature


def test_arrays_join_by_stem_are_cut_with_the_clips_and_nothing_is_done_twice(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    write_tone(media / "a.wav", seconds=2)
    save(media / "a.npy", np.stack([np.arange(20.0), np.r_[np.full(10, np.nan), np.ones(10)]], axis=1))
    save(media / "alone.npy", np.arange(12.0))
    save(media / "odd.npy", np.array(["x"]))
    clips = {"rule": "window", "length_s": 1, "hop_s": 1}
    config = config_of(tmp_path, clips=clips, features=["array-stats", "array-raw", "audio-mfccseg"])
    run(config)
    assert drops(config) == {"odd.npy": "array_dtype"}
    spine = read_spine(StoreLayout(config.store), CORPUS)
    assert spine.filter(source_id="a")["array"].n_unique() == 1
    assert spine.filter(source_id="alone").select("audio", "start_ns", "end_ns").rows() == [("", 0, 1_000_000_000)]
    assert set(read_ledger(config, CORPUS)["state"]) == {"complete"}
    stats = {place: row[0].tolist() for place, row in values(config, STATS).items()}
    assert sorted(stats) == ["a 0", "a 1", "alone 0"]
    assert stats["a 0"][:9] == pytest.approx([4.5, np.sqrt(8.25), 0, 2.25, 4.5, 6.75, 9, 10, 0])
    assert stats["a 0"][9:] == [0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert stats["a 1"][9:] == [1, 0, 1, 1, 1, 1, 1, 0, 0]
    raw = values(config, RAW)
    assert raw["a 1"][:, 0].tolist() == list(range(10, 20))
    assert raw["a 0"][:, 2].tolist() == [0.5] * 10
    before = tree(config.store)
    run(config, LATER)
    assert tree(config.store) == before
    assert verify_store(StoreLayout(config.store)) == ()


def test_another_sensor_leaves_the_sound_as_it_was(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    write_tone(media / "a.wav")
    save(media / "a.npy", np.arange(5.0))
    config = config_of(tmp_path, features=["array-stats", "audio-mfccseg"])
    run(config)
    save(media / "a.npy", np.arange(6.0))
    ingest(config)
    report, _ = extract_plan(config, plan_corpus(config, CORPUS))
    assert report.reused == 1  # the sound; only the numbers are computed
    assert values(config, STATS)["a 0"][0, 0] == 2.0


def test_other_settings_are_another_array_and_extraction_waits_for_ingest(tmp_path):
    save(tmp_path / "media" / "a.npy", np.arange(20.0))
    config = config_of(tmp_path, features=["array-stats"])
    ingest(config)
    faster = config_of(tmp_path, features=["array-stats"], arrays={"suffixes": ["npy"], "rate_hz": 20})
    extract_plan(faster, plan_corpus(faster, CORPUS))
    assert set(drops(faster, "extract").values()) == {"changed_since_ingest"}
    run(faster)
    live = read_spine(StoreLayout(faster.store), CORPUS).filter(~pl.col("superseded"))
    assert live["end_ns"].to_list() == [1_000_000_000]
    assert set(read_ledger(faster, CORPUS)["state"]) <= {"complete", "failed"}


def test_too_many_columns_are_refused_with_what_to_set(tmp_path):
    save(tmp_path / "media" / "a.npy", np.zeros((5, 3)))
    config = config_of(tmp_path, features=["array-stats"])
    run(config)
    assert set(drops(config, "extract").values()) == {"too_many_columns"}


def test_features_of_arrays_are_made_only_where_a_corpus_says_that_it_has_some(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    write_tone(media / "a.wav")
    save(media / "a.npy", np.arange(5.0))
    config = config_of(tmp_path, arrays={})
    assert not any(name.startswith("array") for name in read_features(config))
    ingest(config)
    assert drops(config) == {"a.npy": "unknown_type"}
    assert {"array-raw@1", "array-stats@1"} <= read_features(config_of(tmp_path))


def read_features(config: Config) -> set[str]:
    return {feature.name for feature in wanted_features(config, CORPUS)}


def test_a_table_may_hold_the_numbers_themselves(tmp_path):
    rows = [{"id": "a", "signal": [[1, 2], [3, None]], "said": "up"}, {"id": "b", "signal": ["x"], "said": "down"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = {"kind": "table", "file": str(tmp_path / "rows.jsonl"), "columns": {"array": "signal", "text": "said"}}
    config = config_of(tmp_path, source=table, features=["array-stats"])
    (tmp_path / "media").mkdir()
    run(config)
    (found,) = values(config, STATS).values()
    assert found[0, [0, 9, 17]].tolist() == [2, 2, 0.5]
    assert "array_dtype" in drops(config).values()


# --------------------------------------------------------------------------- numbers of the labels table


def write_labels(folder: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"file": str(folder / "labels.jsonl"), "key": "id"}


def test_rows_of_the_labels_table_are_arrays_in_no_file(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    for name in "abc":
        write_text(media / f"{name}.txt", f"a note on {name}")
    rows = [{"id": "a", "age": 3, "fee": 1.5}, {"id": "b", "age": "old", "fee": 1.5}, {"id": "c", "who": "x"}]
    settings = {
        "labels": write_labels(tmp_path, rows),
        "arrays": {"label_columns": ["age", "fee"]},
        "features": ["array-stats", "text-ngrams"],
    }
    config = config_of(tmp_path, **settings)
    run(config)
    stats = values(config, STATS)
    assert {place: (row[0, 0], row[0, 8], row[0, 9]) for place, row in stats.items()} == {
        "a 0": (3, 0, 1.5),
        "b 0": (0, 1, 1.5),
    }
    assert drops(config) == {"b": "not_a_number"}
    before = tree(config.store)
    run(config)
    assert tree(config.store) == before
    # A corrected number is another array; the words stay as they are, and are not computed again.
    rows[0]["age"] = 4
    write_labels(tmp_path, rows)
    ingest(config)
    report, _ = extract_plan(config, plan_corpus(config, CORPUS))
    assert values(config, STATS)["a 0"][0, 0] == 4
    assert (report.computed, report.reused) == (1, 1)
    layout = StoreLayout(config.store)
    assert verify_store(layout) == ()
    assert {s.origin for asset in assets_of(read_assets(layout, CORPUS)) for s in asset.streams if not s.file} == {
        "columns:age,fee"
    }


def test_a_target_among_the_numbers_is_refused_by_name(tmp_path):
    model = {"corpus": CORPUS, "target": "fee", "inputs": ["array-stats"]}
    settings = {"labels": write_labels(tmp_path, []), "arrays": {"label_columns": ["age", "fee"]}}
    config = config_of(tmp_path, {"m": model}, **settings)
    with pytest.raises(ConfigError, match=r"leak: the target 'fee' is one of the numbers .*'array-stats'"):
        open_training_set(config, config.models["m"])


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"suffixes": ["npy"], "time_column": "t", "rate_hz": 3}, "not by both"),
        ({"suffixes": ["npy"], "label_columns": ["x"]}, "an asset has one array"),
        ({"rate_hz": 3}, "say `suffixes`"),
        ({"suffixes": ["hdf"]}, "'npy', 'csv' or 'parquet'"),
        ({"label_columns": ["x"]}, "say `labels.file` too"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, arrays, told):
    with pytest.raises(ConfigError, match=told):
        config_of(tmp_path, arrays=arrays)


def test_a_label_column_that_is_not_there_is_named(tmp_path):
    (tmp_path / "media").mkdir()
    write_text(tmp_path / "media" / "a.txt", "words")
    settings = {"labels": write_labels(tmp_path, [{"id": "a", "age": 3}]), "arrays": {"label_columns": ["weight"]}}
    with pytest.raises(ConfigError, match=r"has no column 'weight' .*its columns are: age"):
        ingest(config_of(tmp_path, **settings))


# --------------------------------------------------------------------------- the recipe

RECIPE = Path(__file__).resolve().parents[2] / "examples" / "sensors.toml"
TAKES, ROOMS = 48, 12


def write_film(path: Path, goes_right: bool, random: np.random.Generator) -> None:
    """Write half a second in which a dot moves."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("mpeg4", rate=12, options={"flags": "+bitexact", "threads": "1"})
        video.width, video.height, video.pix_fmt, video.bit_rate = 48, 32, "yuv420p", 400_000
        row = int(random.integers(4, 24))
        for index in range(6):
            picture = random.integers(0, 40, (32, 48, 3)).astype(np.uint8)
            column = 4 + 6 * index if goes_right else 40 - 6 * index
            picture[row : row + 6, column : column + 6] = 230
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 12)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    age(path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Config:
    """Return the recipe over recordings whose film tells one half of the class and whose sensor tells the other."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "media").mkdir()
    random, rows = np.random.default_rng(3), []
    for number in range(TAKES):
        right, rises, name = number % 2, number // 2 % 2, f"take-{number:02d}"
        write_film(folder / "media" / f"{name}.mp4", bool(right), random)
        push = np.linspace(0, 1 if rises else -1, 20) + random.normal(0, 0.1, 20)
        lines = [f"{row / 40:.3f},{push[row]:.4f},{'' if row % 5 else 20 + row}" for row in range(20)]
        write_text(folder / "media" / f"{name}.csv", "seconds,push,heat\n" + "\n".join(lines) + "\n")
        write_text(folder / "media" / f"{name}.txt", " ".join(random.choice(["warm", "cold", "slow", "quick"], 3)))
        what = f"{('left', 'right')[right]}-{('down', 'up')[rises]}"
        rows.append({"id": name, "what": what, "room": f"room-{number // (TAKES // ROOMS)}"})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_config(Path(shutil.copy(RECIPE, folder / "mmpipe.toml")))
    config = config.model_copy(update={"engine": config.engine.model_copy(update={"workers": 2})})
    ingest_corpus(config, "lab", DT)
    extract_plan(config, plan_corpus(config, "lab"))
    return config


@pytest.mark.slow
def test_a_film_a_sensor_and_a_caption_are_fused_and_earn_their_release(lab):
    ledger = read_ledger(lab, "lab")
    assert dict(ledger.select("feature", "samples").rows()) == dict.fromkeys(
        (RAW, STATS, "text-ngrams@1", "video-hogdct@1"), TAKES
    )
    trained = train_model(lab, "what")
    released = release_model(lab, "what", trained.checkpoint)
    scores = {row["contender"]: row["accuracy"] for row in released.rows}
    assert (released.status, released.offered) == ("candidate", "concat"), released.sentence
    assert re.match(r"concat earned its release: its accuracy over \S+ is \+0\.[2-6]", released.sentence)
    assert scores["concat"] > 0.8
    assert max(scores[STATS], scores["video-hogdct@1"]) < 0.65
    media = lab.corpora["lab"].root
    report = predict_files(lab, [media / f"take-05.{suffix}" for suffix in ("mp4", "csv", "txt")], "what")
    assert [(answer.source, answer.said["label"]) for answer in report.answers] == [("take-05", "right-down")]
    assert report.unanswered == ()


def test_the_verbs_know_numbers_and_forget_them(lab, tmp_path):
    shutil.copytree(lab.corpora["lab"].root.parent, tmp_path / "lab", symlinks=True)
    config = load_config(tmp_path / "lab" / "mmpipe.toml")
    layout = StoreLayout(config.store)

    def told(*command: str) -> str:
        done = CliRunner().invoke(app, [*command, "--config", str(tmp_path / "lab" / "mmpipe.toml")])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert STATS in told("status", "--json")
    assert plan_corpus(config, "lab").is_empty
    (shown,) = json.loads(told("show", "take-05", "--json"))
    assert (shown[STATS], shown[RAW]) == ("[18]", "[5, 3]")
    assert "array" in (layout.dataset("lab", STATS).root / "README.md").read_text()
    numbers = read_spine(layout, "lab").filter(source_id="take-05")["array"].item()
    report = forget(config, "lab", "take-05", "asked")
    assert report
    assert numbers not in read_spine(layout, "lab")["array"].to_list()
    assert "take-05" not in read_assets(layout, "lab")["source_id"].to_list()
    ingest_corpus(config, "lab", LATER)
    assert "take-05" not in read_spine(layout, "lab")["source_id"].to_list()
    assert verify_store(layout) == ()
    assert dict(read_ledger(config, "lab").select("feature", "samples").rows())[STATS] == TAKES - 1


def test_a_first_config_reads_npy_files_as_arrays(tmp_path):
    for number in range(8):
        save(tmp_path / "gloves" / f"{number}.npy", np.full((4, 2), number))
    rows = [{"id": str(number), "label": "ab"[number % 2], "room": str(number // 2)} for number in range(8)]
    write_labels(tmp_path, rows)
    proposal = propose_config(tmp_path / "gloves", store=tmp_path / "store", beside=tmp_path)
    assert 'suffixes = ["npy"]' in proposal.toml
    (tmp_path / "mmpipe.toml").write_text(proposal.toml)
    config = load_config(tmp_path / "mmpipe.toml")
    (model,) = config.models.values()
    assert model.inputs == ("array-stats",)
    report = ingest_corpus(config, "gloves", DT)
    assert [count.clips for count in report.partitions] == [8]
