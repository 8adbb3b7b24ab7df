"""MELD as its authors distribute it: three tables of utterances, their video clips, and vectors in pickles.

Format: declare-lab/MELD@2d2011b, README.md: {train,dev,test}_sent_emo.csv with the columns Utterance, Speaker, Emotion,
Sentiment, Dialogue_ID, Utterance_ID, ...; clips diaX_uttY.mp4 in a folder per split (train_splits, dev_splits_complete,
output_repeated_splits_test); text_glove_average_*.pkl and audio_embeddings_feature_selection_*.pkl: a list of three
dicts (train, val, test) from "X_Y" to a vector. Vectors of networks that learnt the labels are not taken. Poria 2019.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.external.published.plain_pickle import read_plain_pickle
from mmpipe.external.published.sample import SPLITS, Described, LeftOut, Published, Sample, files_below, finite
from mmpipe.types import Modality

_EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
_SENTIMENTS = ("neutral", "positive", "negative")
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
_CLIP = re.compile(r"dia(\d+)_utt(\d+)\.mp4")
_VECTORS = {
    "meld-glove": ("text_glove_average_", Modality.TEXT),
    "meld-opensmile": ("audio_embeddings_feature_selection_", Modality.AUDIO),
}
_Key = tuple[str, str, str]  # split of theirs, dialogue, utterance


def read_meld(name: str, path: Path) -> Published:
    """Return MELD; `path` holds the tables and the clips, at any depth. ConfigError where either is missing."""
    tables = _tables(path)
    clips = _clips(path)
    vectors = {feature: found for feature in _VECTORS if (found := _vectors(path, feature))}
    if not clips:
        raise ConfigError(f"{path} has no clip diaX_uttY.mp4 below a folder of train, dev or test")
    described = Described(
        group="dialogue",
        target="emotion",
        inputs=("text-ngrams", "audio-mfccseg"),
        features={feature: _VECTORS[feature][1] for feature in vectors},
        fusions=("concat", "late_weighted"),
        root=path.resolve(),
        own_features=("text-ngrams", "audio-mfccseg"),
        corpus_lines=(
            'source = { kind = "table", file = "labels.jsonl", key = "id", '
            'columns = { video = "clip", text = "utterance" } }',
        ),
        notes=(
            "the official splits share speakers, so groups are dialogues: what it tells about new speakers is unknown",
            *(("the numbers of meld-opensmile were chosen by the labels",) if "meld-opensmile" in vectors else ()),
        ),
    )  # fmt: skip
    return Published(described=described, rows=_rows(path, tables, clips, vectors))


def _tables(path: Path) -> dict[str, list[dict[str, str]]]:
    found = {}
    for split in ("train", "dev", "test"):
        files = [file for file in files_below(path, f"{split}_sent_emo.csv") if file.name == f"{split}_sent_emo.csv"]
        if len(files) != 1:
            raise ConfigError(f"{path} has {len(files)} files {split}_sent_emo.csv; MELD has one of each split")
        found[split] = _read_table(files[0])
    return found


def _read_table(file: Path) -> list[dict[str, str]]:
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # older copies have its quotes
    try:
        rows = list(csv.DictReader(text.splitlines(keepends=True), strict=True))
    except csv.Error as error:
        raise ConfigError(f"{file} is cut off or is no csv: {error}") from error
    missing = sorted(set(_COLUMNS) - set(rows[0] if rows else ()))
    if missing:
        raise ConfigError(f"{file} has no rows, or not the columns {missing}")
    return [{column: (row.get(column) or "").strip() for column in _COLUMNS} for row in rows]


def _clips(path: Path) -> dict[_Key, Path]:
    """Return the clips by split, dialogue and utterance; the nearest folder that names a split decides."""
    found = {}
    for file in files_below(path, ".mp4"):
        match = _CLIP.fullmatch(file.name)
        folders = reversed(file.relative_to(path).parts[:-1])
        split = next((split for folder in folders for split in ("train", "dev", "test") if split in folder), "")
        if match and split:
            found[split, match[1], match[2]] = file
    return found


def _vectors(path: Path, feature: str) -> dict[_Key, np.ndarray]:
    """Return vectors by split, dialogue and utterance; of two files (emotion, sentiment) the first."""
    start, _ = _VECTORS[feature]
    files = [file for file in files_below(path, ".pkl") if file.name.startswith(start)]
    if not files:
        return {}
    parts = read_plain_pickle(files[0])
    if not isinstance(parts, list | tuple) or len(parts) != 3 or not all(isinstance(part, dict) for part in parts):
        raise ConfigError(f"{files[0]} is no list of three tables: train, val, test")
    found = {}
    for split, part in zip(("train", "dev", "test"), parts, strict=True):
        for key, vector in part.items():
            dialogue, _, utterance = str(key).partition("_")
            found[split, dialogue, utterance] = np.asarray(vector)
    return found


def _rows(
    path: Path,
    tables: Mapping[str, list[dict[str, str]]],
    clips: Mapping[_Key, Path],
    vectors: Mapping[str, Mapping[_Key, np.ndarray]],
) -> Iterator[Sample | LeftOut]:
    dims = {feature: next(iter(found.values())).shape for feature, found in vectors.items()}
    for split, table in tables.items():
        for row in table:
            key = (split, row["Dialogue_ID"], row["Utterance_ID"])
            name = f"{split} dia{key[1]}_utt{key[2]}"
            emotion, sentiment = row["Emotion"].lower(), row["Sentiment"].lower()
            if emotion not in _EMOTIONS or sentiment not in _SENTIMENTS:
                said = f"emotion {emotion[:40]!r}, sentiment {sentiment[:40]!r}: not among MELD's"
                yield LeftOut(row=name, code="bad_label", detail=said)
                continue
            if key not in clips:
                yield LeftOut(row=name, code="no_clip", detail="the table has it, and there is no video of it")
                continue
            features = {}
            for feature, found in vectors.items():
                try:
                    if key not in found or found[key].shape != dims[feature] or len(dims[feature]) != 1:
                        said = f"is {list(found[key].shape)}" if key in found else "is missing"
                        raise SampleError("no_vector", f"its vector of {feature} {said}")
                    features[feature] = finite(found[key], f"its vector of {feature}")
                except SampleError as error:
                    yield LeftOut(row=f"{name} {feature}", code=error.code, detail=error.detail)
            yield Sample(
                id=f"{split}/dia{key[1]}_utt{key[2]}",
                split=SPLITS[split],
                labels={
                    "clip": clips[key].relative_to(path).as_posix(),
                    "dialogue": f"{split}-{key[1]}",
                    "speaker": row["Speaker"],
                    "emotion": emotion,
                    "sentiment": sentiment,
                    "utterance": row["Utterance"],
                },
                features=features,
            )
