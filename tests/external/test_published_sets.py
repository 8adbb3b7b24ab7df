"""Published data sets from tiny files of exactly their formats: what is read, and what is left out with a reason."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_maker import write_film
from published_files import (
    MELD_FOLDERS,
    write_av_mnist,
    write_meld_tables,
    write_meld_vectors,
    write_mm_imdb,
    write_pickle,
)

from benchmarks.quality.tiny_mosi import mosi_table
from mmpipe.errors import ConfigError
from mmpipe.external.published.mm_imdb import tell_hdf5
from mmpipe.external.published.sample import LeftOut, Published, Sample
from mmpipe.external.published.sets import DataSet, read_published


def told(published: Published) -> tuple[dict[str, Sample], dict[str, str]]:
    """Return the samples by id, and the codes of what is left out by row."""
    rows = list(published.rows)
    samples = {row.id: row for row in rows if isinstance(row, Sample)}
    return samples, {row.row: row.code for row in rows if isinstance(row, LeftOut)}


def read(data_set: DataSet, path: Path) -> tuple[dict[str, Sample], dict[str, str]]:
    return told(read_published(data_set, path))


# --------------------------------------------------------------------------- MOSI, MOSEI


@pytest.mark.parametrize("aligned", [True, False])
def test_a_clip_of_mosi_has_its_steps_without_the_padding(tmp_path: Path, aligned: bool) -> None:
    table = mosi_table(aligned=aligned)
    file = write_pickle(tmp_path / ("aligned_50.pkl" if aligned else "unaligned_50.pkl"), table, 2)
    samples, left_out = read(DataSet.MOSI, tmp_path)
    assert left_out == {} and samples.keys() == read(DataSet.MOSI, file)[0].keys()
    assert Counter(str(sample.split) for sample in samples.values()) == {"train": 40, "val": 12, "test": 20}
    part = table["valid"]
    sample = samples["_valid-video2/1"]
    steps = int(part["text_bert"][4, 1].sum())
    np.testing.assert_array_equal(sample.features["mosi-text"], part["text"][4, :steps])
    np.testing.assert_array_equal(sample.features["mosi-audio"], part["audio"][4, : steps if aligned else 3 * steps])
    np.testing.assert_array_equal(sample.features["mosi-vision"], part["vision"][4, :steps])
    score = part["regression_labels"][4]
    assert sample.labels["score"] == score and sample.labels["video"] == "_valid-video2"
    assert sample.labels["polarity"] == ("positive" if score > 0 else "negative")
    assert sample.labels["sentiment7"] == str(round(score)) and sample.text == part["raw_text"][4]
    neutral = samples["_valid-video0/1"].labels
    assert "polarity" not in neutral and neutral["not_negative"] == "yes"


def test_rows_of_mosi_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    table = mosi_table()
    train = table["train"]
    train["audio"][1, 0, 0] = -np.inf
    train["text_bert"][2, 1] = 0  # no step at all
    train["id"][3], train["id"][4] = "../../etc$_$1", "noclip"
    train["regression_labels"][5] = np.nan
    samples, left_out = read(DataSet.MOSI, write_pickle(tmp_path / "a.pkl", table))
    assert left_out == {
        "_train-video0$_$2 audio": "nonfinite",
        "_train-video1$_$1 text": "bad_length",
        "_train-video1$_$1 audio": "bad_length",
        "_train-video1$_$1 vision": "bad_length",
        "_train-video1$_$1": "no_modality",
        "../../etc$_$1": "unsafe_id",
        "noclip": "unsafe_id",
        "_train-video2$_$2": "bad_score",
    }
    kept = samples["_train-video0/2"]
    assert sorted(kept.features) == ["mosi-text", "mosi-vision"]
    assert kept.array is kept.features["mosi-vision"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda table: table.pop("valid"), "has no splits"),
        (lambda table: table["train"].pop("vision"), "no column 'vision'"),
        (lambda table: table["test"]["id"].pop(), "19 ids and 20 rows"),
        (lambda table: table["test"].update(audio=np.zeros((20, 5), np.float32)), r"'audio' is float32 \[20, 5\]"),
        (lambda table: table["test"].update(regression_labels=["x"] * 20), "not one number per id"),
        (lambda table: table.update(train=[1]), "not a table of columns"),
    ],
)
def test_a_table_that_is_not_mmsas_is_refused(tmp_path: Path, change: Any, word: str) -> None:
    table = mosi_table()
    change(table)
    with pytest.raises(ConfigError, match=word):
        read(DataSet.MOSEI, write_pickle(tmp_path / "a.pkl", table))


def test_of_two_files_one_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read(DataSet.MOSI, tmp_path / "none")
    with pytest.raises(ConfigError, match="neither"):
        read(DataSet.MOSI, tmp_path)
    for name in ("aligned_50.pkl", "unaligned_50.pkl"):
        write_pickle(tmp_path / name, mosi_table())
    with pytest.raises(ConfigError, match="both"):
        read(DataSet.MOSI, tmp_path)


# --------------------------------------------------------------------------- AV-MNIST


def test_av_mnist_keeps_the_last_twelfth_of_train_for_validation(tmp_path: Path) -> None:
    samples, left_out = read(DataSet.AV_MNIST, write_av_mnist(tmp_path, train=48, test=16))
    assert left_out == {} and len(samples) == 64
    assert [name for name, sample in samples.items() if sample.split == "val"] == [
        f"train/{n:05d}" for n in range(44, 48)
    ]
    images, audio = (np.load(tmp_path / kind / "test_data.npy") for kind in ("image", "audio"))
    sample = samples["test/00003"]
    assert sample.labels == {"digit": "1"} and sample.picture_HWC is not None and sample.array is not None
    np.testing.assert_allclose(sample.picture_HWC.reshape(-1), images[3], atol=0.5)
    np.testing.assert_array_equal(sample.array, audio[3])


def test_files_of_av_mnist_that_do_not_fit_are_refused_and_rows_are_told(tmp_path: Path) -> None:
    write_av_mnist(tmp_path)
    labels = np.load(tmp_path / "train_labels.npy")
    labels[2] = 11
    np.save(tmp_path / "train_labels.npy", labels)
    audio = np.load(tmp_path / "audio" / "train_data.npy")
    audio[5, 0, 0] = np.nan
    np.save(tmp_path / "audio" / "train_data.npy", audio)
    assert read(DataSet.AV_MNIST, tmp_path)[1] == {"train/00002": "bad_label", "train/00005": "nonfinite"}
    np.save(tmp_path / "train_labels.npy", labels[:-1])
    with pytest.raises(ConfigError, match="48 pictures, 48 sounds and 47 labels"):
        read(DataSet.AV_MNIST, tmp_path)
    whole = (tmp_path / "image" / "test_data.npy").read_bytes()
    (tmp_path / "image" / "test_data.npy").write_bytes(whole[:-9])
    np.save(tmp_path / "train_labels.npy", labels)
    with pytest.raises(ConfigError, match=r"test_data\.npy is cut off"):
        read(DataSet.AV_MNIST, tmp_path)
    np.save(tmp_path / "image" / "test_data.npy", np.array([{}] * 16, dtype=object))
    with pytest.raises(ConfigError, match="holds objects"):
        read(DataSet.AV_MNIST, tmp_path)
    (tmp_path / "image" / "test_data.npy").unlink()
    with pytest.raises(ConfigError, match="is missing"):
        read(DataSet.AV_MNIST, tmp_path)


# --------------------------------------------------------------------------- MELD


def write_meld(folder: Path) -> None:
    for split, names in write_meld_tables(folder).items():
        clips = folder / split / MELD_FOLDERS[split]
        clips.mkdir()
        for name in names:
            (clips / name).write_bytes(b"")
        (clips / f"._{names[0]}").write_bytes(b"")  # as the archive of test has them


def test_meld_joins_tables_clips_and_vectors_by_split(tmp_path: Path) -> None:
    write_meld(tmp_path)
    write_meld_vectors(tmp_path)
    (tmp_path / "dev" / MELD_FOLDERS["dev"] / "dia2_utt0.mp4").unlink()
    published = read_published(DataSet.MELD, tmp_path)
    samples, left_out = told(published)
    assert len(samples) == 14 and left_out == {
        "dev dia2_utt0": "no_clip",
        "dev dia1_utt0 meld-glove": "nonfinite",
        "dev dia1_utt0 meld-opensmile": "nonfinite",
    }
    sample = samples["test/dia0_utt1"]
    assert sample.split == "test" and sample.features["meld-glove"].shape == (300,)
    assert sample.labels == {
        "clip": "test/output_repeated_splits_test/dia0_utt1.mp4",
        "dialogue": "test-0",
        "speaker": "Chandler",
        "emotion": "joy",
        "sentiment": "positive",
        "utterance": "You must’ve had your hands full.",
    }
    assert len({sample.labels["dialogue"] for sample in samples.values()}) == 8
    assert published.described.root == tmp_path.resolve()


def test_what_is_not_meld_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"0 files train_sent_emo\.csv"):
        read(DataSet.MELD, tmp_path)
    write_meld_tables(tmp_path)
    with pytest.raises(ConfigError, match=r"no clip diaX_uttY\.mp4"):
        read(DataSet.MELD, tmp_path)
    write_pickle(tmp_path / "text_glove_average_emotion.pkl", [{}, {}])
    with pytest.raises(ConfigError, match="no list of three tables"):
        read(DataSet.MELD, tmp_path)
    table = tmp_path / "train" / "train_sent_emo.csv"
    table.write_text(table.read_text("utf-8").replace("joy", "glee").replace("’", "'"), encoding="cp1252")
    (tmp_path / "text_glove_average_emotion.pkl").unlink()
    (tmp_path / "train" / "train_splits").mkdir()
    write_film(tmp_path / "train" / "train_splits" / "dia0_utt0.mp4")
    assert read(DataSet.MELD, tmp_path)[1]["train dia0_utt1"] == "bad_label"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="not the columns"):
        read(DataSet.MELD, tmp_path)


# --------------------------------------------------------------------------- MM-IMDb


def test_mm_imdb_takes_the_longest_plot_and_a_column_per_genre(tmp_path: Path) -> None:
    write_mm_imdb(tmp_path / "mmimdb")
    films = tmp_path / "mmimdb" / "dataset"
    (films / "0000005.jpeg").unlink()
    (films / "0000006.json").write_text('{"genres": ["Drama"]')
    (films / "0000007.json").write_text('{"genres": [], "plot": ["x"]}')
    splits = tmp_path / "mmimdb" / "split.json"
    splits.write_text(splits.read_text().replace('"dev": [', '"dev": ["../split", '))
    samples, left_out = read(DataSet.MM_IMDB, tmp_path / "mmimdb")
    assert left_out == {"../split": "unsafe_id", "0000005": "no_poster", "0000006": "bad_film", "0000007": "bad_film"}
    labels = samples["0000008"].labels
    assert labels["plot"] == "A long story of 3." and labels["genres"] == ["Drama", "Comedy"]
    assert (labels["genre_Drama"], samples["0000009"].labels["genre_Comedy"]) == ("yes", "no")
    assert Counter(str(sample.split) for sample in samples.values()) == {"train": 5, "val": 2, "test": 2}
    with pytest.raises(ConfigError, match=r"no split\.json"):
        read(DataSet.MM_IMDB, films)


class Stored(np.ndarray):
    """A data set of HDF5 as h5py gives it: an array with `attrs`."""

    attrs: dict[str, Any]


class Hdf5(dict[str, Stored]):
    """A file of HDF5 as h5py gives it: data sets by name, and `attrs`."""

    attrs: dict[str, Any]


def make_hdf5(films: int = 6) -> Hdf5:
    rng = np.random.default_rng(0)
    parts = {
        "features": rng.normal(size=(films, 300)).astype(np.float32),
        "vgg_features": rng.normal(size=(films, 4096)).astype(np.float32),
        "images": rng.integers(0, 256, (films, 3, 16, 10), dtype=np.int32),
        "genres": (np.arange(films * 2).reshape(films, 2) % 3 == 0).astype(np.int32),
        "imdb_ids": np.array([f"{row:07d}".encode() for row in range(films)], dtype="S7"),
    }
    file = Hdf5({name: part.view(Stored) for name, part in parts.items()})
    for part in file.values():
        part.attrs = {}
    file["genres"].attrs["target_names"] = json.dumps(["Drama", "Comedy"])
    rows = [(split, name, *place) for name in parts for split, place in zip(("train", "dev", "test"), ((0, 3), (3, 4), (4, 6)), strict=True)]  # noqa: E501  # fmt: skip
    kind = [("split", "S5"), ("source", "S12"), ("start", np.int64), ("stop", np.int64)]
    file.attrs = {"split": np.array(rows, dtype=kind)}
    return file


def test_mm_imdb_in_one_file_says_its_own_splits(tmp_path: Path) -> None:
    file = make_hdf5()
    file["images"][1] -= 300
    samples, left_out = told(tell_hdf5(tmp_path, file))
    assert left_out == {"0000001": "bad_pixels"}
    assert [str(sample.split) for sample in samples.values()] == ["train", "train", "val", "test", "test"]
    sample = samples["0000000"]
    assert sample.labels["genres"] == ["Drama"] and sample.labels["genre_Comedy"] == "no"
    assert sample.features["mm-imdb-vgg"].shape == (4096,) and sample.picture_HWC is not None
    np.testing.assert_array_equal(sample.picture_HWC[..., 2], file["images"][0, 2])
    file.attrs = {}
    with pytest.raises(ConfigError, match="does not say its splits"):
        tell_hdf5(tmp_path, file)
    del file["genres"]
    with pytest.raises(ConfigError, match="has no 'genres'"):
        tell_hdf5(tmp_path, file)


def test_hdf5_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "multimodal_imdb.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ConfigError, match=r"mmpipe\[hdf5\]"):
        read(DataSet.MM_IMDB, tmp_path / "multimodal_imdb.hdf5")


def test_a_real_hdf5_file_reads_like_the_one_in_memory(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
    made, path = make_hdf5(), tmp_path / "multimodal_imdb.hdf5"
    with h5py.File(path, "w") as file:
        for name, part in made.items():
            file.create_dataset(name, data=np.asarray(part)).attrs.update(part.attrs)
        file.attrs["split"] = made.attrs["split"]
    got, expected = read(DataSet.MM_IMDB, path)[0], told(tell_hdf5(path, made))[0]
    assert {name: sample.labels for name, sample in got.items()} == {n: s.labels for n, s in expected.items()}
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigError, match="is cut off"):
        read(DataSet.MM_IMDB, path)
