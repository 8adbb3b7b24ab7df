"""Make tiny files exactly as the authors of published data sets distribute them."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import numpy as np

UTTERANCES = ("also I was the point person", "You must’ve had your hands full.", "That I did.", "Okay.", "Okay.")


def write_pickle(path: Path, table: object, protocol: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(table, protocol=protocol))
    return path


def write_av_mnist(folder: Path, train: int = 48, test: int = 16, seed: int = 0) -> Path:
    """MultiBench's folder: pictures [N, 784] and spectrograms [N, 112, 112] from 0 to 255, labels apart."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        labels = np.arange(count) % 2
        images = rng.uniform(0, 90, (count, 28, 28)) + 0.25
        images[labels == 1, 8:20, 8:20] += 120
        audio = rng.uniform(0, 90, (count, 112, 112)).astype(np.float32)
        audio[labels == 1, :, :40] += 120
        for kind, values in (("image", images.reshape(count, 784)), ("audio", audio)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            np.save(folder / kind / f"{split}_data.npy", values)
        np.save(folder / f"{split}_labels.npy", labels.astype(np.float64))
    return folder


MELD_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
MELD_COLUMNS = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
)  # fmt: skip


def write_meld_tables(folder: Path) -> dict[str, list[str]]:
    """The three tables, and the names of the clips that they speak of, by split."""
    names = {}
    for split in MELD_FOLDERS:
        (folder / split).mkdir(parents=True, exist_ok=True)
        with open(folder / split / f"{split}_sent_emo.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(MELD_COLUMNS)
            for row, text in enumerate(UTTERANCES):
                emotion, sentiment = ("joy", "positive") if row % 2 else ("neutral", "neutral")
                times = ("00:16:16,059", "00:16:21,731")
                rows.writerow((row + 1, text, "Chandler", emotion, sentiment, row // 2, row % 2, 8, 21, *times))
        names[split] = [f"dia{row // 2}_utt{row % 2}.mp4" for row in range(len(UTTERANCES))]
    return names


def write_meld_vectors(folder: Path) -> None:
    """The authors' vectors: a list of three dicts, train, val and test, from X_Y to a vector."""
    keys = [f"{row // 2}_{row % 2}" for row in range(len(UTTERANCES))]
    rng = np.random.default_rng(1)
    for name, width in (("text_glove_average_emotion", 300), ("audio_embeddings_feature_selection_emotion", 1611)):
        parts = [{key: rng.normal(size=width) for key in keys} for _ in range(3)]
        parts[1]["1_0"][3] = np.nan
        write_pickle(folder / f"{name}.pkl", parts, protocol=2)


def write_mm_imdb(folder: Path, films: int = 12) -> Path:
    """The raw archive: dataset/ID.json and ID.jpeg, and split.json."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "dataset").mkdir(parents=True)
    names = [f"{row + 5:07d}" for row in range(films)]
    for row, name in enumerate(names):
        told = {"genres": ["Drama", "Comedy"] if row % 2 else ["Drama"], "plot": ["Short.", f"A long story of {row}."]}
        (folder / "dataset" / f"{name}.json").write_text(json.dumps(told | {"title": f"Film {row}"}))
        pixels = rng.integers(0, 256, (24, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "dataset" / f"{name}.jpeg")
    splits = {"train": names[:-4], "dev": names[-4:-2], "test": names[-2:]}
    (folder / "split.json").write_text(json.dumps(splits))
    return folder
