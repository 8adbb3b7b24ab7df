"""CMU-MOSI and CMU-MOSEI as MMSA distributes them: `aligned_50.pkl` or `unaligned_50.pkl`.

Format: thuiar/MMSA@a94e65d, README.md ("MMSA uses feature files that are organized as follows") and
src/MMSA/data_loader.py: {"train" | "valid" | "test": {"id", "raw_text", "text" [N, T, 768], "audio" [N, T, A],
"vision" [N, T, V], "text_bert" [N, 3, T], "regression_labels" [N], "annotations", and, unaligned, "audio_lengths" and
"vision_lengths" [N]}}; an id is VIDEO$_$CLIP; padding is at the end. Zadeh et al. 2016 (MOSI), 2018 (MOSEI).
MMSA sets an infinite number of the sound to 0; here that modality of that clip is missing, with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.external.published.plain_pickle import read_plain_pickle
from mmpipe.external.published.sample import SPLITS, Described, LeftOut, Published, Sample, check_id, finite
from mmpipe.types import Modality

_MODALITIES = {"text": Modality.TEXT, "audio": Modality.AUDIO, "vision": Modality.VIDEO}
_FILES = ("aligned_50.pkl", "unaligned_50.pkl")
_MAX_SCORE = 3.0  # regression labels lie in [-3, 3]
_BETWEEN = "$_$"


def read_sentiment(name: str, path: Path) -> Published:
    """Return MOSI or MOSEI; `path` is the pickle, or a folder with one of the two. ConfigError where it is neither."""
    file = _find(path)
    table = read_plain_pickle(file)
    if not isinstance(table, dict) or not {"train", "valid", "test"} <= table.keys():
        said = sorted(map(str, table))[:8] if isinstance(table, dict) else type(table).__name__
        raise ConfigError(f"{file} has no splits train, valid and test; it has {said}")
    parts = {split: _Part(file, split, table[split]) for split in ("train", "valid", "test")}
    features = {f"{name}-{modality}": made_from for modality, made_from in _MODALITIES.items()}
    described = Described(
        group="video",
        target="polarity",
        inputs=tuple(features),
        features=features,
        fusions=("concat", "late_weighted", "lmf"),
        corpus_lines=('arrays = { suffixes = ["npy"] }      # a clip is its array and its words',),
        notes=(
            "`polarity` is the sign of the score, and a score of 0 has none: its accuracy is Non0_acc_2 of MMSA",
            "`not_negative` has all (Has0_acc_2), `sentiment3` is the sign with neutral (Acc_3), "
            "`sentiment7` the rounded score (Mult_acc_7)",
            "groups are videos; a speaker of several videos is not known here",
        ),
    )  # fmt: skip
    return Published(described=described, rows=_rows(name, parts))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    found = [path / name for name in _FILES if (path / name).is_file()]
    if len(found) != 1:
        what = "both " + " and ".join(_FILES) if found else "neither " + " nor ".join(_FILES)
        raise ConfigError(f"{path} has {what}. Name the file with --from.")
    return found[0]


class _Part:
    """One split of the pickle: columns of equal length."""

    def __init__(self, file: Path, split: str, table: Any) -> None:
        self.split = SPLITS[split]
        self._where = f"{file}, split {split!r}"
        if not isinstance(table, dict):
            raise ConfigError(f"{self._where} is a {type(table).__name__}, not a table of columns")
        self._table: Mapping[str, Any] = table
        self.ids = [str(one) for one in self._column("id")]
        self.texts = [str(one) for one in self._column("raw_text")]
        self.scores_N = self._numbers("regression_labels")
        self.notes = [str(one) for one in self._column("annotations")] if "annotations" in table else None
        self.values = {name: self._matrix(name) for name in _MODALITIES}
        self.lengths = {name: self._lengths(name, values) for name, values in self.values.items()}

    def _column(self, name: str) -> Sequence[Any]:
        column = self._table.get(name)
        if not isinstance(column, list | tuple | np.ndarray):
            raise ConfigError(f"{self._where} has no column {name!r}; it has {sorted(map(str, self._table))}")
        count = len(self._table["id"]) if name != "id" else len(column)
        if len(column) != count:
            raise ConfigError(f"{self._where} has {count} ids and {len(column)} rows of {name!r}")
        return cast(Sequence[Any], column)

    def _numbers(self, name: str) -> np.ndarray:
        try:
            numbers = np.asarray(self._column(name), dtype=np.float64)
            return numbers.reshape(len(self.ids))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self._where}: {name!r} is not one number per id: {error}") from error

    def _matrix(self, name: str) -> np.ndarray:
        matrix = self._column(name)
        if not isinstance(matrix, np.ndarray) or matrix.ndim != 3 or matrix.dtype.kind != "f" or not matrix.shape[2]:
            said = f"{matrix.dtype} {list(matrix.shape)}" if isinstance(matrix, np.ndarray) else "a list"
            raise ConfigError(f"{self._where}: {name!r} is {said}; wanted are floats [clips, steps, numbers]")
        return matrix

    def _lengths(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return how many leading steps of each clip are no padding: as told, or as the words' mask has it."""
        if name != "text" and f"{name}_lengths" in self._table:
            return self._numbers(f"{name}_lengths")
        bert = self._table.get("text_bert")
        if isinstance(bert, np.ndarray) and bert.shape == (len(self.ids), 3, values.shape[1]):
            mask = np.asarray(bert[:, 1, :], dtype=np.float64)
            return np.asarray(mask.sum(axis=1))
        return np.full(len(self.ids), values.shape[1], dtype=np.float64)


def _rows(name: str, parts: Mapping[str, _Part]) -> Iterator[Sample | LeftOut]:
    for part in parts.values():
        for row, clip in enumerate(part.ids):
            try:
                video, _, number = clip.rpartition(_BETWEEN)
                source_id = check_id(f"{video}/{number}")
                labels = _labels(part, row, video)
            except SampleError as error:
                yield LeftOut(row=clip, code=error.code, detail=error.detail)
                continue
            features = {}
            for modality in _MODALITIES:
                try:
                    features[f"{name}-{modality}"] = _steps(part, modality, row)
                except SampleError as error:
                    yield LeftOut(row=f"{clip} {modality}", code=error.code, detail=error.detail)
            if not features:
                yield LeftOut(row=clip, code="no_modality", detail="none of its modalities can be used")
                continue
            carrier = next(
                features[key] for key in (f"{name}-{one}" for one in ("audio", "vision", "text")) if key in features
            )
            yield Sample(
                id=source_id,
                split=part.split,
                labels=labels,
                features=features,
                text=part.texts[row],
                array=carrier,  # its content is the clip's identity: words alone are often said twice
            )  # fmt: skip


def _labels(part: _Part, row: int, video: str) -> dict[str, str | float | list[str]]:
    score = float(part.scores_N[row])
    if not abs(score) <= _MAX_SCORE:
        raise SampleError("bad_score", f"the score is {score}; it lies between -3 and 3")
    labels: dict[str, str | float | list[str]] = {
        "video": video,
        "score": score,
        "not_negative": "yes" if score >= 0 else "no",
        "sentiment3": ("negative", "neutral", "positive")[int(np.sign(score)) + 1],
        "sentiment7": str(int(np.round(score))),
    }
    if score:
        labels["polarity"] = "positive" if score > 0 else "negative"
    if part.notes:
        labels["annotation"] = part.notes[row]
    return labels


def _steps(part: _Part, modality: str, row: int) -> np.ndarray:
    values_TD, length = part.values[modality][row], float(part.lengths[modality][row])
    if not 0 < length <= len(values_TD) or length != int(length):
        raise SampleError("bad_length", f"its {modality} has {length:g} of {len(values_TD)} steps")
    return finite(values_TD[: int(length)], f"its {modality}")
