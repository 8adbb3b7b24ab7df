"""MM-IMDb as its authors distribute it: posters, plots and genres of films, raw or as one HDF5 file.

Formats: johnarevalo/gmu-mmimdb@95226b0, make_dataset.py. Raw: dataset/ID.json ("genres", "plot", a list of texts) and
dataset/ID.jpeg, split.json {"train" | "dev" | "test": [ID]}; of several plots the longest counts, as there. HDF5:
`features` [N, 300] (mean word2vec of the plot), `vgg_features` [N, 4096], `images` [N, 3, 256, 160], `genres` [N, 23]
0 or 1 with the attribute `target_names` (JSON), `imdb_ids`, and the attribute `split` as Fuel writes it; without that,
the rows that pliang279/MultiBench@49f9be2 datasets/imdb/get_data.py takes: 15,552, 2,608, 7,799. Arevalo et al. 2017.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.external.published.sample import SPLITS, Described, LeftOut, Published, Sample, check_id, finite
from mmpipe.types import Modality, Split

_GENRES = 23  # the most frequent ones are the task
_MULTIBENCH = {25_959: (15_552, 18_160)}  # rows in all: where val and test begin
_NOTE = '`genres` lists all genres of a film: goal = "multilabel"; per genre there is a column `genre_NAME`, yes or no'


def read_mm_imdb(name: str, path: Path) -> Published:
    """Return MM-IMDb; `path` is the HDF5 file, or the folder with split.json and dataset/. ConfigError: neither is."""
    if path.is_file():
        return _hdf5(path)
    if not (path / "split.json").is_file() or not (path / "dataset").is_dir():
        raise ConfigError(f"{path} has no split.json beside dataset/. Name that folder, or the HDF5 file, with --from.")
    return _raw(path)


def _raw(path: Path) -> Published:
    splits = _read_json(path / "split.json")
    if not isinstance(splits, dict) or not {"train", "dev", "test"} <= splits.keys():
        raise ConfigError(f"{path / 'split.json'} has no lists train, dev and test")
    films = [(SPLITS[split], str(film)) for split in ("train", "dev", "test") for film in splits[split]]
    told = {film: _told(path / "dataset", film) for _, film in films}
    genres = _most_frequent(one["genres"] for one in told.values() if isinstance(one, dict))
    described = Described(
        group="id",
        target="genres",
        inputs=("image-hogdct", "text-ngrams"),
        features={},
        fusions=("concat", "late_logits", "gmu"),
        model_lines=('goal = "multilabel"',),
        root=(path / "dataset").resolve(),
        own_features=("image-hogdct", "text-ngrams"),
        corpus_lines=(  # a film's JSON beside its poster is no text: the table says what belongs together
            'source = { kind = "table", file = "labels.jsonl", key = "id", '
            'columns = { image = "poster", text = "plot" } }',
        ),
        notes=(_NOTE,),
    )
    return Published(described=described, rows=_raw_rows(path / "dataset", films, told, genres))


def _told(folder: Path, film: str) -> dict[str, Any] | LeftOut:
    """Return the genres and the longest plot of a film."""
    try:
        table = _read_json(folder / f"{check_id(film)}.json")
        genres, plots = table["genres"], table["plot"]
        plot = max((text for text in plots if isinstance(text, str)), key=len).strip()
        if not (isinstance(genres, list) and genres and all(isinstance(one, str) for one in genres) and plot):
            raise ValueError("its genres or its plot are empty")
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        return LeftOut(row=film, code="bad_film", detail=f"{film}.json: {type(error).__name__}: {error}")
    except SampleError as error:
        return LeftOut(row=film, code=error.code, detail=error.detail)
    return {"genres": genres, "plot": plot}


def _raw_rows(
    folder: Path, films: list[tuple[Split, str]], told: Mapping[str, Any], genres: list[str]
) -> Iterator[Sample | LeftOut]:
    for split, film in films:
        if isinstance(told[film], LeftOut):
            yield told[film]
            continue
        if not (folder / f"{film}.jpeg").is_file():
            yield LeftOut(row=film, code="no_poster", detail=f"there is no {film}.jpeg")
            continue
        labels = _labels([genre for genre in told[film]["genres"] if genre in genres], genres)
        yield Sample(id=film, split=split, labels={**labels, "poster": f"{film}.jpeg", "plot": told[film]["plot"]})


def _most_frequent(lists: Iterator[list[str]] | Any) -> list[str]:
    counts = Counter(genre for genres in lists for genre in dict.fromkeys(genres))
    return [genre for genre, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_GENRES]]


def _labels(has: list[str], genres: list[str]) -> dict[str, str | float | list[str]]:
    return {"genres": has, **{f"genre_{genre}": "yes" if genre in has else "no" for genre in genres}}


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file} is cut off or is no JSON: {error}") from error


# --------------------------------------------------------------------------- HDF5


def _hdf5(path: Path) -> Published:
    try:
        import h5py
    except ImportError as error:
        raise ConfigError("HDF5 files need the extra hdf5. Install it: pip install 'mmpipe[hdf5]'") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ConfigError(f"{path} is cut off or is no HDF5 file: {error}") from error
    return tell_hdf5(path, file)


def tell_hdf5(path: Path, file: Any) -> Published:
    """Return what an open HDF5 file holds: datasets by name with `shape`, `attrs` and rows, and `attrs` of its own."""
    missing = [name for name in ("features", "vgg_features", "images", "genres", "imdb_ids") if name not in file]
    if missing:
        raise ConfigError(f"{path} has no {missing[0]!r}; it has {sorted(file)}")
    count = file["genres"].shape[0]
    shapes = {name: tuple(file[name].shape) for name in ("features", "vgg_features", "images", "imdb_ids")}
    if any(shape[0] != count for shape in shapes.values()) or len(shapes["images"]) != 4 or shapes["images"][1] != 3:
        raise ConfigError(f"{path} has {count} rows of genres and {shapes}; images are [rows, 3, height, width]")
    names = _target_names(file["genres"], int(file["genres"].shape[1]))
    features = {"mm-imdb-words": Modality.TEXT, "mm-imdb-vgg": Modality.IMAGE}
    described = Described(
        group="id",
        target="genres",
        inputs=tuple(features),
        features=features,
        fusions=("concat", "late_logits", "gmu"),
        model_lines=('goal = "multilabel"',),
        notes=(_NOTE, "its plots are ids of a vocabulary that is not in the file: there is no text to read"),
    )
    return Published(described=described, rows=_hdf5_rows(file, names, _split_starts(path, file, count)))


def _target_names(genres: Any, width: int) -> list[str]:
    said = genres.attrs.get("target_names")
    try:
        names = [str(name) for name in json.loads(said)] if said is not None else []
    except (ValueError, TypeError):
        names = []
    return names if len(names) == width else [str(place) for place in range(width)]


def _split_starts(path: Path, file: Any, count: int) -> dict[int, Split]:
    """Return the first row of each split."""
    said = file.attrs.get("split")
    if said is not None and getattr(said.dtype, "names", None):
        rows = {_decoded(row["split"]): int(row["start"]) for row in said if _decoded(row["source"]) == "genres"}
        if set(rows) == {"train", "dev", "test"}:
            return {start: SPLITS[split] for split, start in rows.items()}
    if count in _MULTIBENCH:
        val, test = _MULTIBENCH[count]
        return {0: Split.TRAIN, val: Split.VAL, test: Split.TEST}
    raise ConfigError(f"{path} has {count} rows and does not say its splits (the attribute `split`)")


def _decoded(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _hdf5_rows(file: Any, names: list[str], starts: Mapping[int, Split]) -> Iterator[Sample | LeftOut]:
    split = Split.TRAIN
    for row in range(file["genres"].shape[0]):
        split = starts.get(row, split)
        film = _decoded(file["imdb_ids"][row])
        try:
            has = np.asarray(file["genres"][row])
            if not np.isin(has, (0, 1)).all():
                raise SampleError("bad_label", "its genres are not 0 and 1")
            yield Sample(
                id=check_id(film),
                split=split,
                labels=_labels([name for name, one in zip(names, has, strict=True) if one], names),
                features={
                    "mm-imdb-words": finite(np.asarray(file["features"][row]), "its words' vector"),
                    "mm-imdb-vgg": finite(np.asarray(file["vgg_features"][row]), "its poster's vector"),
                },
                picture_HWC=_picture(np.asarray(file["images"][row])),
            )
        except SampleError as error:
            yield LeftOut(row=film, code=error.code, detail=error.detail)


def _picture(image_CHW: np.ndarray) -> np.ndarray:
    if image_CHW.min() < 0 or image_CHW.max() > 255:
        raise SampleError("bad_pixels", f"its pixels go from {image_CHW.min()} to {image_CHW.max()}, not 0 to 255")
    return np.ascontiguousarray(image_CHW.transpose(1, 2, 0).astype(np.uint8))
